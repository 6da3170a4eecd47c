"""From recordings to a repertoire and back, through the commands."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import RATE, usvbook

from usvbook.metrics import agreement
from usvbook.mupet import MupetSegmenter
from usvbook.recordings import Recording, find_recordings
from usvbook.repertoire import Repertoire
from usvbook.segmentation import match_recordings, segment_recordings, true_labels
from usvbook.settings import SETTINGS

FOUR = ("--n-clusters", 4, "--n-seeds", 0)


def read(out):
    return pd.read_csv(out / "calls.csv")


def files_in(folder):
    """Names of all files, but for those of the work area."""
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    return sorted(p.as_posix() for p in files if "work" not in p.parts)


def ari(calls, truth):
    """Agreement of the units with the true classes, over the calls that are true."""
    classes = true_labels(calls, truth)
    real = classes != "none"
    return agreement(classes[real], calls["unit"][real].to_numpy())["ari"]


# ------------------------------------------------------------------------------------ the results


def test_build_writes_what_it_lists(built, study):
    run = json.loads((built / "run.json").read_text())
    files = files_in(built)
    assert files == run["files"]
    assert {"calls.csv", "units.csv", "repertoire.npz", "run.json", "report.html"} <= set(files)
    assert {"figures/mosaic.png", "figures/calls.png", "figures/unit_03.png"} <= set(files)
    assert run["parameters"]["n_clusters"] == 4 and run["random_state"] == 0
    assert {"usvbook", "numpy", "python"} <= set(run["versions"])
    steps = {"detect", "overlaps", "pictures", "fit", "stability", "excerpts", "figures"}
    assert set(run["seconds"]) == steps
    assert sum(run["seconds"].values()) > 0.1
    for given in run["inputs"]:
        data = Path(given["audio_path"]).read_bytes()
        assert given["sha256"] == hashlib.sha256(data).hexdigest()
    page = (built / "report.html").read_text(encoding="utf-8")
    assert "data:image/png" in page and 'src="http' not in page and "<link" not in page


def test_tables_agree(built, study):
    calls, units = read(built), pd.read_csv(built / "units.csv")
    wanted = ["audio_path", "channel", "onset_s", "offset_s", "unit", "is_inlier", "similarity"]
    assert set(wanted) <= set(calls) and calls[wanted].notna().all().all()
    assert (calls["offset_s"] > calls["onset_s"]).all() and calls["call_id"].is_unique
    assert calls["is_inlier"].dtype == bool and calls["similarity"].between(0, 1).all()
    sizes = calls["unit"][calls["unit"] >= 0].value_counts()
    assert units["n_calls"].tolist() == sizes.sort_index().tolist()
    assert units["n_calls"].is_monotonic_decreasing  # units are numbered by size
    assert units["n_inliers"].sum() == calls["is_inlier"].sum()
    assert np.isclose(units["share"].sum(), 1)


def test_calls_and_units_are_the_true_ones(built, study):
    calls, truth = read(built), study[1]
    early = truth[truth["audio_path"].str.contains("early")]
    assert match_recordings(early, calls).f1 > 0.97
    assert ari(calls, early) > 0.8


def test_labels_do_not_depend_on_processes_or_on_the_run(built, study, tmp_path, no_figures):
    for n_jobs in (1, 2):
        out = tmp_path / str(n_jobs)
        usvbook("build", study[0] / "early", "-o", out, *FOUR, "--n-jobs", n_jobs)
        assert (out / "calls.csv").read_bytes() == (built / "calls.csv").read_bytes()
        assert (out / "units.csv").read_bytes() == (built / "units.csv").read_bytes()


def test_configuration_file_repeats_a_run(built, study, tmp_path, no_figures):
    """All parameters of run.json, written as a configuration file, give the same table."""
    parameters = json.loads((built / "run.json").read_text())["parameters"]
    settings = {n: "none" if parameters[n] is None else parameters[n] for n in SETTINGS
                if n in parameters}  # fmt: skip
    lines = [f"{n} = {json.dumps(v)}" for n, v in settings.items()]
    (tmp_path / "lab.toml").write_text("\n".join(lines))
    out = tmp_path / "out"
    usvbook("build", study[0] / "early", "-o", out, "--config", tmp_path / "lab.toml",
            "--n-seeds", 0)  # fmt: skip
    assert (out / "calls.csv").read_bytes() == (built / "calls.csv").read_bytes()


def test_force_replaces_only_what_the_program_made(built, study, tmp_path, no_figures):
    out = tmp_path / "out"
    shutil.copytree(built, out)
    (out / "notes.txt").write_text("mine")
    (out / "figures" / "mine.png").write_text("mine")
    usvbook("build", study[0] / "early", "-o", out, "--n-clusters", 3, "--n-seeds", 0, "--force")
    run = json.loads((out / "run.json").read_text())
    assert read(out)["unit"].max() == 2
    assert files_in(out) == sorted([*run["files"], "notes.txt", "figures/mine.png"])
    assert not (out / "figures" / "unit_03.png").exists()  # of the run before
    assert files_in(tmp_path) == [f"out/{name}" for name in files_in(out)]


# ------------------------------------------------------------------------------- new recordings


def test_assign_gives_the_units_of_predict(built, study, tmp_path):
    out = tmp_path / "out"
    usvbook("assign", built / "repertoire.npz", study[0] / "early", "-o", out)
    assigned, first = read(out), read(built)
    repertoire = Repertoire.load(built / "repertoire.npz")
    found = segment_recordings(find_recordings(study[0] / "early"), repertoire.segmenter())
    assert (assigned["unit"] == repertoire.predict(found.calls)).all()
    assert np.allclose(assigned["onset_s"], first["onset_s"])
    outlier = ~first["is_inlier"]
    assert (assigned["unit"] == first["unit"])[outlier].all()  # they were assigned likewise
    assert (assigned["unit"] == first["unit"]).mean() > 0.85
    run = json.loads((out / "run.json").read_text())
    assert files_in(out) == run["files"] and "report.html" in run["files"]


def test_new_recordings_of_the_same_animals(built, study, tmp_path):
    usvbook("assign", built / "repertoire.npz", study[0] / "late", "-o", tmp_path / "out")
    calls, truth = read(tmp_path / "out"), study[1]
    late = truth[truth["audio_path"].str.contains("late")]
    assert match_recordings(late, calls).f1 > 0.97
    assert ari(calls, late) > 0.7


def test_mupet_through_the_commands_and_back(study, tmp_path, no_figures):
    """The repertoire carries the settings of its segmenter to the recordings assigned to it."""
    out, again = tmp_path / "out", tmp_path / "again"
    usvbook("build", study[0] / "early", "-o", out, *FOUR, "--segmenter", "mupet",
            "--min-duration-s", 0.01, "--n-filters", 48)  # fmt: skip
    run = json.loads((out / "run.json").read_text())
    assert run["parameters"]["name"] == "MupetSegmenter" and run["parameters"]["n_filters"] == 48
    usvbook("assign", out / "repertoire.npz", study[0] / "early", "-o", again)
    first, assigned = read(out), read(again)
    decided = ("unit", "unit_fitted", "is_inlier", "similarity")
    measures = [c for c in first if c not in decided]
    assert "is_inlier" not in assigned and assigned["is_like_unit"].dtype == bool
    pd.testing.assert_frame_equal(assigned[measures], first[measures])
    assert (assigned["unit"] == first["unit"])[~first["is_inlier"]].all()
    assert Repertoire.load(out / "repertoire.npz").segmenter().min_duration_s == 0.01


# ------------------------------------------------------------------------------ formats, channels


def with_more_chunks(path, samples):
    """A WAV file with chunks before the samples that no reader needs to know."""
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    data = path.read_bytes()
    chunks = b"junk" + (6).to_bytes(4, "little") + b"\0" * 6
    chunks += b"iXML" + (8).to_bytes(4, "little") + b"<BWF></>"
    at = data.index(b"data")
    data = data[:at] + chunks + data[at:]
    path.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])


VARIANTS = {
    "24.flac": lambda p, x: soundfile.write(p, x, RATE, subtype="PCM_24"),
    "32.wav": lambda p, x: soundfile.write(p, x, RATE, subtype="PCM_32"),
    "float.wav": lambda p, x: soundfile.write(p, x, RATE, subtype="FLOAT"),
    "DOUBLE.WAV": lambda p, x: soundfile.write(p, x, RATE, subtype="DOUBLE", format="WAV"),
    "more_chunks.wav": with_more_chunks,
}


@pytest.fixture(scope="module")
def reference(song, tmp_path_factory):
    """Samples of the song, and its calls as the command gives them."""
    out = tmp_path_factory.mktemp("reference") / "calls.csv"
    usvbook("detect", song, "-o", out)
    return soundfile.read(song)[0], pd.read_csv(out)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_format_gives_the_same_calls(name, reference, tmp_path):
    samples, calls = reference
    VARIANTS[name](tmp_path / name, samples)
    usvbook("detect", tmp_path, "-o", tmp_path / "calls.csv")
    found = pd.read_csv(tmp_path / "calls.csv")
    assert (found.pop("audio_path") == str(tmp_path / name)).all()
    pd.testing.assert_frame_equal(found, calls.drop(columns="audio_path"))


def test_channels(reference, tmp_path):
    """A channel by its number, and the mean of all."""
    samples, calls = reference
    noise = 0.01 * np.random.default_rng(0).normal(size=len(samples))
    stereo = np.stack([noise, samples], axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "half.wav", stereo * [0, 1], RATE, subtype="FLOAT")
    columns = ["onset_s", "offset_s", "peak_freq_hz", "channel"]
    for name, channel in (("stereo", 1), ("half", "mean")):
        out = tmp_path / f"{name}.csv"
        usvbook("detect", tmp_path / f"{name}.wav", "--channel", channel, "-o", out)
        found = pd.read_csv(out)
        pd.testing.assert_frame_equal(found[columns], calls[columns].assign(channel=channel))
    usvbook("detect", tmp_path / "stereo.wav", "-o", tmp_path / "first.csv")
    assert len(pd.read_csv(tmp_path / "first.csv")) == 0  # the first channel is noise


# -------------------------------------------------------------------------------- real recordings

DATA = Path(os.environ.get("USVBOOK_DATA", "")) / "usv"
NAMES = ("rec_1", "rec_2", "rec_6", "rec_8")
real = pytest.mark.skipif(
    not all((DATA / f"{name}.flac").exists() for name in NAMES),
    reason="USVBOOK_DATA names no folder with usv/rec_1.flac, rec_2, rec_6, rec_8 and calls.csv",
)


def marked_calls():
    marked = pd.read_csv(DATA / "calls.csv").rename(columns={"file": "audio_path"})
    return marked.assign(audio_path=[str(DATA / name) for name in marked["audio_path"]])


@pytest.fixture(scope="module")
def real_built(tmp_path_factory):
    out = tmp_path_factory.mktemp("real") / "out"
    paths = [DATA / f"{name}.flac" for name in NAMES]
    usvbook("build", *paths, "-o", out, "--n-seeds", 2)
    return out


@real
def test_default_segmenter_finds_the_marked_calls(real_built):
    assert match_recordings(marked_calls(), read(real_built)).f1 >= 0.95


@real
def test_build_on_real_recordings(real_built):
    run = json.loads((real_built / "run.json").read_text())
    assert files_in(real_built) == run["files"]
    n_units = len(pd.read_csv(real_built / "units.csv"))
    assert n_units == run["parameters"]["n_clusters"] == len(read(real_built)) // 10
    drawn = {name.split("/")[1] for name in run["files"] if name.startswith("figures/")}
    for name in ("mosaic", "calls", "usage", "similarity", "embedding", "flow", "affinity"):
        assert f"{name}.png" in drawn
    assert sum(name.startswith("unit_") for name in drawn) == n_units


@real
@pytest.mark.parametrize("name", ["rec_1", "rec_2"])
def test_mupet_as_published(name):
    """What MUPET itself reported, within three of its frames, after one shift of the clock."""
    text = (DATA / "other_tools" / f"mupet_{name[4:]}.csv").read_text()
    theirs = np.array([line.split(",") for line in text.split()], float)
    found = MupetSegmenter(compat=True).segment(Recording(DATA / f"{name}.flac"))
    ours = found.table[["onset_s", "offset_s"]].to_numpy()
    off = ours[None] - theirs[:, None]  # (theirs, ours, border)
    shifts_s = np.arange(-0.02, 0.02, 0.0002)
    share = [(abs(off + s).max(axis=2) <= 0.0048).any(axis=1).mean() for s in shifts_s]
    assert max(share) >= 0.95
    assert abs(len(ours) / len(theirs) - 1) <= 0.05
