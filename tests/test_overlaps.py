"""Overlapping calls: found and marked, also where it is hard."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from usvbook.calls import Calls
from usvbook.files import Fault
from usvbook.overlap_parts import separate_overlaps
from usvbook.overlaps import OVERLAP_COLUMNS, count_calls, mark_overlaps
from usvbook.recordings import Recording
from usvbook.runs import assign_recordings, build_repertoire
from usvbook.segmentation import MultitaperSegmenter
from usvbook.synthesis import Contour, background, sound_at_level, synthesize

LOW, HIGH = (50_000, 58_000), (80_000, 72_000)  # Hz, from the beginning to the end of a call


def written(
    path: Path,
    *voices: tuple[float, float, tuple[float, float], float],  # onset, duration, Hz, harmonic
    rate: int = 250_000,
    duration_s: float = 1.0,
    snr_db: float = 24,
) -> Path:
    """A recording of calls that go from one frequency to another in a straight line."""
    x = background(round(duration_s * rate), rate, np.random.default_rng(1))
    for k, (onset_s, length_s, (first, last), harmonic) in enumerate(voices):
        n = round(length_s * rate)
        track = Contour(np.arange(n) / rate, np.linspace(first, last, n), harmonic)
        sound = sound_at_level(track, snr_db, rate, np.random.default_rng(k))
        at = round(onset_s * rate)
        x[at : at + n] += sound[: len(x) - at]
    sf.write(path, 0.3 * x / np.abs(x).max(), rate, "FLOAT")
    return path


def counted(path: Path, channel: int = 0) -> list[int]:
    """How many calls each found call is."""
    calls = MultitaperSegmenter().segment(Recording(path, channel))
    return mark_overlaps(calls)["n_sources"].tolist()


@pytest.mark.parametrize("rate", [192_000, 250_000, 300_000])
def test_two_at_once_at_any_rate(tmp_path, rate):
    path = written(tmp_path / "two.wav", (0.4, 0.06, LOW, 0.0), (0.42, 0.06, HIGH, 0.0), rate=rate)
    assert counted(path) == [2]


def test_a_harmonic_is_no_second_call(tmp_path):
    path = written(tmp_path / "one.wav", (0.4, 0.06, LOW, 0.7))
    assert counted(path) == [1]
    path = written(tmp_path / "two.wav", (0.4, 0.06, LOW, 0.7), (0.41, 0.05, (75_000, 90_000), 0))
    assert counted(path) == [2]


def test_three_at_once(tmp_path):
    third = (95_000, 100_000)
    voices = [(0.4, 0.06, LOW, 0.0), (0.41, 0.06, HIGH, 0.0), (0.42, 0.05, third, 0.0)]
    assert counted(written(tmp_path / "three.wav", *voices)) == [3]


@pytest.mark.parametrize(("lag_s", "n"), [(0.05, 1), (0.04, 2)])
def test_calls_that_touch_look_like_a_step(tmp_path, lag_s, n):
    path = written(tmp_path / "x.wav", (0.4, 0.05, LOW, 0.0), (0.4 + lag_s, 0.05, HIGH, 0.0))
    assert counted(path) == [n]  # touching: one; 10 ms at once: two


def test_overlaps_at_the_edges_of_a_file(tmp_path):
    edges = [(0.0, 0.05, LOW, 0.0), (0.0, 0.05, HIGH, 0.0)]
    edges += [(0.95, 0.05, LOW, 0.0), (0.95, 0.05, HIGH, 0.0)]
    assert counted(written(tmp_path / "edges.wav", *edges)) == [2, 2]


def test_marks_and_channels(tmp_path):
    two = written(tmp_path / "two.wav", (0.4, 0.06, LOW, 0.0), (0.42, 0.06, HIGH, 0.0))
    one = written(tmp_path / "one.wav", (0.4, 0.06, LOW, 0.0))
    both = np.stack([sf.read(one)[0], sf.read(two)[0]], axis=1)
    sf.write(tmp_path / "stereo.wav", both, 250_000, "FLOAT")
    assert [counted(tmp_path / "stereo.wav", channel) for channel in (0, 1)] == [[1], [2]]
    given = MultitaperSegmenter().measure(Recording(two), [0.1, 0.39], [0.2, 0.5])
    assert mark_overlaps(given)["n_sources"].tolist() == [1, 2]


def test_no_frame_is_one_call():
    empty = np.zeros((174, 0), np.float32)
    assert count_calls(empty, (35_000, 120_000), 0.0005) == (1, 1.0)


def test_the_same_table_again(tmp_path):
    path = written(tmp_path / "two.wav", (0.4, 0.06, LOW, 0.0), (0.42, 0.06, HIGH, 0.0))
    calls = MultitaperSegmenter().segment(Recording(path))
    first = mark_overlaps(calls).copy()
    assert mark_overlaps(calls).equals(first) and set(OVERLAP_COLUMNS) <= set(first)
    assert isinstance(calls[[0]], Calls) and calls[[0]].table["n_sources"].tolist() == [2]


@pytest.mark.skipif("USVBOOK_DATA" not in os.environ, reason="needs real recordings")
def test_real_calls_that_nobody_marked_as_overlaps():
    marked = n = 0
    for name in ("rec_1", "rec_2", "rec_6", "rec_8"):
        path = Path(os.environ["USVBOOK_DATA"], "usv", f"{name}.flac")
        table = mark_overlaps(MultitaperSegmenter().segment(Recording(path)))
        marked, n = marked + int((table["n_sources"] > 1).sum()), n + len(table)
    assert marked <= 0.1 * n


def test_build_and_assign_say_how_many(tmp_path):
    two_mice = {"overlap": 0.4, "animal": ["m1", "m2"], "snr_db": 24, "random_state": 4}
    sf.write(tmp_path / "pair.wav", synthesize(8, 36, **two_mice)[0], 250_000)
    songs, out = [str(tmp_path / "pair.wav")], tmp_path / "out"
    with mock.patch("usvbook.runs.draw_figures", return_value={}):
        build_repertoire(songs, out, {"n_clusters": 3}, n_seeds=0)
    calls, units = pd.read_csv(out / "calls.csv"), pd.read_csv(out / "units.csv")
    n = int((calls["n_sources"] > 1).sum())
    assert n > 3 and units["n_overlaps"].sum() == n
    assert f"{n} of {len(calls)} calls seem to be several" in (out / "report.html").read_text()
    table = assign_recordings(out / "repertoire.npz", songs, tmp_path / "new", overlaps="none")
    assert not set(OVERLAP_COLUMNS) & set(table)
    with pytest.raises(Fault, match="overlaps = 'both' is not known"):
        build_repertoire(songs, tmp_path / "other", {"n_clusters": 3}, n_seeds=0, overlaps="both")
    assert not (tmp_path / "other").exists()  # refused before the search


def test_build_and_assign_take_apart(tmp_path):
    two_mice = {"overlap": 0.4, "animal": ["m1", "m2"], "snr_db": 24}
    songs = [str(tmp_path / "4.wav")]
    sf.write(songs[0], synthesize(4, 18, random_state=4, **two_mice)[0], 250_000)
    slow, _ = synthesize(1, 4, 192_000, random_state=6, overlap=1.0, snr_db=24)
    sf.write(tmp_path / "slow.wav", slow, 192_000)  # no network fits
    (tmp_path / "who.csv").write_text("audio_path,animal\n4,a\nslow,c\n")
    with mock.patch("usvbook.runs.draw_figures", return_value={}):
        for way in ("mark", "separate"):
            more = {"n_seeds": 0, "animals": tmp_path / "who.csv", "overlaps": way}
            build_repertoire(songs, tmp_path / way, {"n_clusters": 3}, **more)
    for name in ("calls.csv", "units.csv", "repertoire.npz"):  # what was there stays as it is
        assert (tmp_path / "mark" / name).read_bytes() == (
            tmp_path / "separate" / name
        ).read_bytes()
    calls = pd.read_csv(tmp_path / "separate" / "calls.csv")
    table = pd.read_csv(tmp_path / "separate" / "calls_separated.csv")
    parts, taken = table[table["separated"]], table["overlap_key"].dropna().unique()
    assert len(taken) > 1 and len(table) == len(calls) - len(taken) + len(parts)
    assert (calls.set_index("call_key").loc[taken, "n_sources"] > 1).all()
    assert (parts["animal"] == "a").all() and (parts["unit"] >= 0).all()
    page = (tmp_path / "separate" / "report.html").read_text()
    assert "taken apart into" in page and page.count("in the background of the recording") == 1
    shown = min(len(taken), 8)
    assert page.count(">as recorded</text>") == shown == page.count('aria-label="as recorded in ')
    plain = (tmp_path / "mark" / "report.html").read_text()
    assert "as recorded" not in plain and "calls_separated.csv" not in plain
    assert not (tmp_path / "mark" / "calls_separated.csv").exists()
    path, given = tmp_path / "separate" / "repertoire.npz", [*songs, str(tmp_path / "slow.wav")]
    with mock.patch("usvbook.runs.save_figures", return_value={}):
        for n in (1, 2):
            assign_recordings(path, given, tmp_path / f"n{n}", n_jobs=n, overlaps="separate")
    tables = [(tmp_path / f"n{n}" / "calls_separated.csv").read_bytes() for n in (1, 2)]
    assert tables[0] == tables[1]
    assert "the network for mice takes" in (tmp_path / "n1" / "run.json").read_text()
    again = pd.read_csv(tmp_path / "n1" / "calls_separated.csv")
    new = again[again["separated"]]
    same = ["overlap_key", "voice", "unit", "onset_s", "trust"]
    pd.testing.assert_frame_equal(
        new[same].reset_index(drop=True), parts[same].reset_index(drop=True)
    )


def test_torch_is_loaded_only_to_take_apart():
    code = "import sys, usvbook.runs, usvbook.overlaps; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_parts_of_an_overlap_near_a_neighbour(tmp_path):
    """Neighbours 20 ms away are neither part of the overlap nor changed by it."""
    lone = [(0.30, 0.05, LOW, 0.0), (0.51, 0.05, HIGH, 0.0)]
    both = [(0.40, 0.07, LOW, 0.0), (0.41, 0.07, HIGH, 0.0)]
    calls = MultitaperSegmenter().segment(Recording(written(tmp_path / "x.wav", *lone, *both)))
    assert mark_overlaps(calls)["n_sources"].tolist() == [1, 2, 1]
    parts = separate_overlaps(calls).parts
    assert parts is not None and parts.table["overlap"].eq(1).all()
    means = sorted(parts.table.groupby("voice")["mean_freq_hz"].first())
    assert abs(means[0] - 54_000) < 6_000 and abs(means[1] - 76_000) < 6_000
    assert parts.table["onset_s"].between(0.38, 0.45).all() and (parts.table["trust"] > 0.5).all()
