"""Recordings as the field brings them: what a file holds is used, whatever its header and name."""

import json
import os
import struct
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import RATE, run_command, usvbook

from usvbook.recordings import find_recordings
from usvbook.repertoire import Repertoire
from usvbook.segmentation import segment_recordings

WHEN = "2024-01-31T22:45:00+01:00"
QUICK = ("--n-seeds", 0, "--n-clusters", 2, "--method", "kmeans", "--tau", "none")
posix = pytest.mark.skipif(os.name == "nt", reason="Windows lets few people make links")


def with_length(content, size):
    """A WAV file with another length in its header."""
    at = content.index(b"data") + 4
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]


def with_chunk(content, name, text):
    """A WAV file with a chunk behind its samples."""
    return content + name + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)


@pytest.fixture(scope="module")
def wav(song, tmp_path_factory):
    """The song as the bytes of a WAV file, and as samples."""
    path = tmp_path_factory.mktemp("wav") / "song.wav"
    x, rate = soundfile.read(song)
    soundfile.write(path, x, rate)
    return path.read_bytes(), x


@pytest.fixture(scope="module")
def night(wav, song, tmp_path_factory):
    """A folder of folders: one song in many files, each with something wrong or odd."""
    content, _ = wav
    folder = tmp_path_factory.mktemp("night")
    flac = bytearray(song.read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    odd = "M\udce4use.wav" if sys.platform == "linux" else "Mäuse.wav"
    files = {
        "whole.wav": content,
        "box 1/zero.wav": with_length(content, 0),
        "box 1/half.WAV": with_length(content, len(content) // 2),
        "box 1/deep/more.wav": with_length(content, 2 * len(content)),
        f"box 1/deep/{odd}": with_chunk(content, b"LIST", b"INFOodd"),
        "box 1/20240131_224500.flac": bytes(flac),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_every_file_gives_the_calls_of_the_song(night):
    """In two processes: the same calls from each, and a note where a header was wrong."""
    paths = find_recordings(night)
    done = segment_recordings(paths, n_jobs=2)
    joblib.externals.loky.get_reusable_executor().shutdown()
    assert len(done.files) == 6 and not done.files["error"].any()
    files = done.files.assign(name=[path.split(os.sep)[-1] for path in done.files["audio_path"]])
    told = files.loc[files["warning"] != "", "name"]
    assert sorted(told) == ["half.WAV", "more.wav", "zero.wav"]
    assert files["warning"].str.contains("samples that are there are used").sum() == 3
    parts = [part for _, part in done.calls.table.groupby("audio_path")]
    measures = [part.drop(columns=["audio_path", "call_id"]).to_numpy(str) for part in parts]
    assert len(measures) == 6 and all((one == measures[0]).all() for one in measures)
    dated = files.set_index("name").loc["20240131_224500.flac"]
    assert (dated["recorded_at"], dated["clock_source"]) == ("2024-01-31T22:45:00", "name")
    done.files["audio_path"].str.encode("utf-8")  # can be written


def test_on_a_cluster(night):
    """On workers of Dask, which read the files themselves."""
    distributed = pytest.importorskip("distributed")
    few = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0"}
    paths = find_recordings(night)[:4]
    alone = segment_recordings(paths)
    with (
        distributed.LocalCluster(**few) as local,
        distributed.Client(local),
        joblib.parallel_config(backend="dask"),
    ):
        there = segment_recordings(paths)
    pd.testing.assert_frame_equal(there.calls.table, alone.calls.table)
    pd.testing.assert_frame_equal(there.files, alone.files)


def test_odd_names_through_a_whole_run(night, tmp_path):
    """A name that is no text ends in tables, figures, report and record, and opens again."""
    out = tmp_path / "out"
    usvbook("build", night / "box 1" / "deep", "-o", out, *QUICK)
    table = pd.read_csv(out / "calls.csv")
    assert table["audio_path"].nunique() == 2
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert all(len(row["sha256"]) == 64 for row in run["inputs"])
    assert not [note for note in run["notes"] if "left out" in note]
    assert "use.wav" in (out / "report.html").read_text(encoding="utf-8")


@posix
def test_linked_folders(wav, tmp_path):
    """Each real folder once; loops end."""
    (tmp_path / "disk2").mkdir()
    (tmp_path / "day").mkdir()
    for place in ("disk2/a.wav", "day/a.wav"):
        (tmp_path / place).write_bytes(wav[0])
    (tmp_path / "day" / "linked").symlink_to("../disk2")
    (tmp_path / "day" / "loop").symlink_to(".")
    (tmp_path / "disk2" / "back").symlink_to(tmp_path / "day")
    found = find_recordings(tmp_path / "day")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "day/a.wav",
        "day/linked/a.wav",
    ]
    assert len(find_recordings(tmp_path)) == len(find_recordings(tmp_path / "**" / "*.wav")) == 2


def test_all_channels(wav, tmp_path):
    """Calls of every channel, kept by channel, through build, a second build, and assign."""
    _, x = wav
    quiet = np.random.default_rng(0).normal(0, 0.002, len(x))
    soundfile.write(tmp_path / "three.wav", np.stack([quiet, x, x[::-1]], axis=1), RATE)
    out, again = tmp_path / "out", ("--channel", "all", *QUICK)
    assert "3 channels, channel 1 searched" in usvbook(
        "detect", tmp_path / "three.wav", "-o", tmp_path / "one.csv", "--channel", 1
    )
    said = usvbook("build", tmp_path / "three.wav", "-o", out, *again)
    assert "channels, channel" not in said
    table = pd.read_csv(out / "calls.csv")
    assert set(table["channel"]) == {1, 2} and table["call_id"].is_unique
    one = pd.read_csv(tmp_path / "one.csv")
    same = ["onset_s", "offset_s", "mean_freq_hz", "snr_db"]
    assert (table.loc[table["channel"] == 1, same].to_numpy() == one[same].to_numpy()).all()
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "work").glob("*.npz")}
    assert len(kept) == 3  # one for each channel
    usvbook("build", tmp_path / "three.wav", "-o", out, "--force", *again)
    assert kept == {path.name: path.stat().st_mtime_ns for path in (out / "work").glob("*.npz")}
    assert Repertoire.load(out / "repertoire.npz").channel_ == "all"
    usvbook("assign", out / "repertoire.npz", tmp_path / "three.wav", "-o", tmp_path / "new")
    assert set(pd.read_csv(tmp_path / "new" / "calls.csv")["channel"]) == {1, 2}
    code, told = run_command("separate", tmp_path / "three.wav", "--channel", "all", "-o", "x")
    assert code == 1 and "no channel 'all'" in told


@pytest.mark.parametrize("told_by", ["user", "GUANO"])
def test_time_expansion(wav, song, tmp_path, told_by):
    """A recording ten times slower gives the calls that it held, and its pictures."""
    content, x = wav
    soundfile.write(tmp_path / "slow.wav", x, RATE // 10)
    given = ("--time-expansion", 10)
    if told_by == "GUANO":
        text = f"GUANO|Version: 1.0\nTimestamp: {WHEN}\nTE: 10\nSamplerate: {RATE}"
        slow = with_chunk((tmp_path / "slow.wav").read_bytes(), b"guan", text.encode())
        (tmp_path / "slow.wav").write_bytes(slow)
        given = ()
    out = tmp_path / "out"
    said = usvbook("build", tmp_path / "slow.wav", "-o", out, *given, *QUICK)
    assert "note: " not in said
    (tmp_path / "whole.wav").write_bytes(content)
    usvbook("detect", tmp_path / "whole.wav", "-o", tmp_path / "whole.csv")
    table, whole = pd.read_csv(out / "calls.csv"), pd.read_csv(tmp_path / "whole.csv")
    columns = [name for name in whole if name != "audio_path"]
    pd.testing.assert_frame_equal(table[columns], whole[columns])
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    (row,) = run["inputs"]
    assert row["time_expansion"] == 10 and abs(row["duration_s"] - len(x) / RATE) < 1e-9
    assert row["clock_source"] == ("guano" if told_by == "GUANO" else "")
    assert row["recorded_at"] == (WHEN if told_by == "GUANO" else "")
    said = usvbook("assign", out / "repertoire.npz", tmp_path / "whole.wav", "-o", tmp_path / "new")
    assert ("time_expansion = 10" in said) == (told_by == "user")
    code, _ = run_command(
        "detect", tmp_path / "slow.wav", "-o", tmp_path / "b.csv", "--time-expansion", 0
    )
    assert code == 1


def test_settings_with_a_mark(song, tmp_path):
    """Some editors put three bytes before the text of a file."""
    (tmp_path / "lab.toml").write_bytes(b"\xef\xbb\xbfthreshold = 4.0\n")
    usvbook("detect", song, "-o", tmp_path / "a.csv", "--config", tmp_path / "lab.toml")
    usvbook("detect", song, "-o", tmp_path / "b.csv", "--threshold", 4)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
