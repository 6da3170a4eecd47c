"""Pictures of calls that somebody else marked, and the gain of order as two rooms have it."""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from usvbook.context import order_gain
from usvbook.preprocessing import CallImages, degenerate_rows
from usvbook.recordings import Recording
from usvbook.segmentation import MultitaperSegmenter
from usvbook.sequences import held_out_gain
from usvbook.synthesis import synthesize

DATA = Path(os.environ.get("USVBOOK_DATA") or "nowhere")


def without_picture(recording: Recording, marks: pd.DataFrame, **settings: float) -> int:
    """Marked calls of a recording that give no picture of their own band."""
    segmenter = MultitaperSegmenter(**settings, patches="level")
    calls = segmenter.measure(recording, marks["onset_s"], marks["offset_s"])
    with warnings.catch_warnings(action="error"):
        return int(degenerate_rows(CallImages("band").transform(calls)).sum())


def test_faint_marks_have_pictures(tmp_path):
    waveform, truth = synthesize(60, 250, snr_db=0, snr_spread_db=3, random_state=0)
    soundfile.write(tmp_path / "faint.wav", waveform, 250_000)
    assert without_picture(Recording(tmp_path / "faint.wav"), truth) == 0


@pytest.mark.skipif(not (DATA / "usv").is_dir(), reason="needs USVBOOK_DATA")
def test_marks_of_mice_have_pictures():
    marks = pd.read_csv(DATA / "usv" / "calls.csv")
    for name, one in marks.groupby("file"):
        assert without_picture(Recording(DATA / "usv" / str(name)), one) == 0, name
    assert len(marks) == 116


@pytest.mark.skipif(not (DATA / "finch").is_dir(), reason="needs USVBOOK_DATA")
def test_marks_of_song_have_pictures():
    marks = pd.read_csv(DATA / "finch" / "syllables.csv")
    names = marks["audio_path"].unique()[:4]
    band = {"min_freq_hz": 500, "max_freq_hz": 10_000, "window_s": 0.016, "hop_s": 0.001}
    for name in names:
        own = marks[marks["audio_path"] == name]
        assert without_picture(Recording(DATA / "finch" / name), own, **band) == 0, name


def test_the_gain_of_order_is_one_number():
    rng = np.random.default_rng(0)
    for seed in range(5):
        labels = (np.cumsum(rng.integers(0, 3, 300)) + seed) % 7
        bout = np.sort(rng.integers(0, 40, 300))
        assert np.isclose(order_gain(labels, bout), held_out_gain(labels, bout))
