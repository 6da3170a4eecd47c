"""What the default segmenter finds where pitches, pauses and lines are difficult."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from usvbook.calls import match_calls
from usvbook.metrics import recording_table
from usvbook.segmentation import MultitaperSegmenter, segment_recordings

TIMES = ["onset_s", "offset_s"]


def tone(rate, seconds, start_hz, slope_hz_per_s=0.0, level=0.05):
    """A tone that may glide, with edges of 3 ms."""
    t = np.arange(int(seconds * rate)) / rate
    soft = np.minimum(1, np.minimum(t, t[::-1]) / 0.003)
    return level * soft * np.sin(2 * np.pi * (start_hz * t + slope_hz_per_s / 2 * t * t))


def recording(rate, seconds, sounds, seed=0):
    """Noise with sounds: (onset in seconds, samples) each."""
    x = 0.003 * np.random.default_rng(seed).normal(size=int(seconds * rate))
    for at_s, sound in sounds:
        first = int(at_s * rate)
        x[first : first + len(sound)] += sound
    return x


def search(folder, x, rate, **settings):
    """Calls in samples, and the row of the table of files."""
    soundfile.write(folder / "x.wav", x, rate, subtype="FLOAT")
    done = segment_recordings(folder / "x.wav", MultitaperSegmenter(**settings))
    return done.calls.table, done.files.iloc[0]


def assert_found(table, onsets_s, seconds):
    """The calls, all of them and no others, to within 5 ms."""
    truth = pd.DataFrame({"onset_s": onsets_s, "offset_s": np.add(onsets_s, seconds)})
    matching = match_calls(truth, table[TIMES])
    assert len(table) == len(truth) == len(matching.pairs)
    errors = np.r_[matching.onset_errors_s, matching.offset_errors_s]
    assert np.abs(errors).max() < 0.005


@pytest.mark.parametrize("rate", [192_000, 250_000])
@pytest.mark.parametrize(("seconds", "duty"), [(0.07, 0.3), (0.07, 0.7), (0.07, 0.85), (0.3, 0.85)])
def test_a_pitch_that_is_mostly_lit_is_no_background(tmp_path, rate, seconds, duty):
    onsets_s = 0.3 + seconds / duty * np.arange(int(3 * duty / seconds))
    x = recording(rate, 4, [(at, tone(rate, seconds, 61e3)) for at in onsets_s])
    table, file = search(tmp_path, x, rate)
    assert_found(table, onsets_s, seconds)
    assert (
        file["n_too_long"] == file["n_too_wide"] == 0
        and table["mean_freq_hz"].sub(61e3).abs().max() < 600
    )


def test_bouts_of_a_rat(tmp_path):
    onsets_s = 0.5 + 1.8 * np.arange(5)
    x = recording(250_000, 10, [(at, tone(250_000, 1.2, 22_600, -660)) for at in onsets_s])
    for high_hz in (32e3, 120e3):
        limits = {"min_freq_hz": 17e3, "max_freq_hz": high_hz, "max_duration_s": 2}
        assert_found(search(tmp_path, x, 250_000, **limits)[0], onsets_s, 1.2)
    table, file = search(tmp_path, x, 250_000, min_freq_hz=17e3, max_freq_hz=32e3)
    assert len(table) == 0 and file["n_too_long"] == 5
    assert "5 finds are longer than max_duration_s = 0.5 s" in file["warning"]


def test_what_hardly_ever_pauses_is_told(tmp_path):
    sounds = [(0.1 * k, tone(250_000, 0.094, 61e3)) for k in range(40)]
    _, file = search(tmp_path, recording(250_000, 4, sounds), 250_000)
    assert "the background there is not safe" in file["warning"]
    hum = tone(250_000, 4, 61e3)
    onsets_s = 0.2 + 0.4 * np.arange(9)
    calls = [(at, tone(250_000, 0.05, 70e3, 1e5)) for at in onsets_s]
    table, file = search(tmp_path, recording(250_000, 4, [(0, hum), *calls]), 250_000)
    assert_found(table, onsets_s, 0.05)
    assert file["warning"] == ""


@pytest.mark.parametrize("level", [0.003, 0.01, 0.03])
@pytest.mark.parametrize("slope_hz_per_s", [10, 333, 3000])
def test_a_line_that_drifts_swallows_no_call(tmp_path, level, slope_hz_per_s):
    onsets_s = 0.05 + 0.19 * np.arange(20)
    calls = [(at, tone(250_000, 0.04, 60e3, 4e5)) for at in onsets_s]
    line = tone(250_000, 4, 44e3, slope_hz_per_s, level)
    table, _ = search(tmp_path, recording(250_000, 4, [(0, line), *calls]), 250_000)
    assert_found(table, onsets_s, 0.04)


@pytest.mark.parametrize("pause_s", [0.005, 0.01, 0.03])
def test_short_pauses_keep_calls_apart(tmp_path, pause_s):
    onsets_s = 0.3 + (0.05 + pause_s) * np.arange(30)
    pitches_hz = 55e3 + 2e3 * (np.arange(30) * 7 % 10)
    calls = [(at, tone(250_000, 0.05, f, 3e5)) for at, f in zip(onsets_s, pitches_hz, strict=True)]
    assert_found(search(tmp_path, recording(250_000, 3, calls), 250_000)[0], onsets_s, 0.05)


def test_what_is_left_out_is_counted(tmp_path):
    comb = sum(tone(250_000, 0.02, f, level=0.01) for f in range(40_000, 120_000, 5000))
    sounds = [(0.1 + 0.095 * k, comb) for k in range(10)] + [(1.5, tone(250_000, 0.6, 60e3, 2e4))]
    table, file = search(tmp_path, recording(250_000, 3, sounds), 250_000)
    assert len(table) == 0 and file["n_too_wide"] == 10 and file["n_too_long"] == 1
    told = recording_table(table, pd.DataFrame([file]))
    assert told.loc[0, ["n_too_wide", "n_too_long"]].tolist() == [10, 1]
