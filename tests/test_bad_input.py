"""Bad input: one line that names the file, the fault and the remedy, and nothing half-written.

The cases stand in one table, `CASES`. `python tests/test_bad_input.py` prints it as Markdown with
what each command said.
"""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import RATE, run_command
from safetensors.numpy import save_file

from usvbook import recordings
from usvbook.deep_clustering import hum
from usvbook.repertoire import Repertoire
from usvbook.synthesis import synthesize

# ------------------------------------------------------------------- how to make what is bad
# Each maker gets the folder to work in, which holds song.flac, a good recording with 24 calls.


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def sound(name, samples, rate=RATE, **more):
    return lambda folder: soundfile.write(folder / name, samples(), rate, **more)


def seconds_of(value):
    return lambda: np.full(RATE, value)


def noise(size=RATE, scale=0.01):
    return scale * np.random.default_rng(0).normal(size=size)


def calls(n):
    return lambda: synthesize(max(n / 6, 1), n, snr_db=20, random_state=0)[0]


def with_one(value):
    x = noise()
    x[RATE // 2] = value
    return x


def clipped():
    x = calls(24)()
    return np.clip(x, -0.3 * abs(x).max(), 0.3 * abs(x).max())


def cut(name, share):
    """The song as another file, of which only the first part is there."""

    def make(folder):
        x, rate = soundfile.read(folder / "song.flac")
        soundfile.write(folder / name, x, rate)
        with open(folder / name, "r+b") as file:
            file.truncate(round(share * (folder / name).stat().st_size))

    return make


def damaged_in_the_middle(folder):
    """The song with some bytes of a frame overwritten."""
    content = bytearray((folder / "song.flac").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    (folder / "bad.flac").write_bytes(content)


def promises(share):
    """The song in a WAV file whose header speaks of a part of it."""

    def make(folder):
        x, rate = soundfile.read(folder / "song.flac")
        soundfile.write(folder / "bad.wav", x, rate)
        content = bytearray((folder / "bad.wav").read_bytes())
        content[40:44] = int(share * 2 * len(x)).to_bytes(4, "little")
        (folder / "bad.wav").write_bytes(content)

    return make


def four_channels(folder):
    """The song before the third of four microphones."""
    x, rate = soundfile.read(folder / "song.flac")
    quiet = [noise(len(x), 0.003) for _ in range(3)]
    soundfile.write(folder / "bad.wav", np.stack([*quiet[:2], x, quiet[2]], axis=1), rate)


def not_text(folder):
    """The song under a name that is no text, in a folder."""
    (folder / "night").mkdir()
    with open(os.fsencode(folder / "night") + b"/M\xe4use.flac", "wb") as file:
        file.write((folder / "song.flac").read_bytes())


def header_only(folder):
    soundfile.write(folder / "bad.wav", noise(), RATE)
    with open(folder / "bad.wav", "r+b") as file:
        file.truncate(44)


def forbidden(name):
    """A file, or a folder if the name has no ending, that nobody may read."""

    def make(folder):
        if "." not in name:
            (folder / name).mkdir()
        shutil.copy(folder / "song.flac", folder / name)
        (folder / name).chmod(0)

    return make


def locked(name):
    """A folder that nobody may write into."""

    def make(folder):
        (folder / name).mkdir()
        (folder / name).chmod(0o555)

    return make


def twice(folder):
    """Every call five times: a recording joined to itself, without noise of its own."""
    x = synthesize(2, 8, snr_db=30, random_state=2)[0]
    soundfile.write(folder / "bad.wav", np.tile(x, 5), RATE)


def repertoire(name="song.npz", **more):
    def make(folder):
        X = np.abs(np.random.default_rng(0).normal(size=(20, 4096)))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        fitted = Repertoire(2, tau=None, method="kmeans").fit(X.astype(np.float32))
        fitted.segmenter_ = {"name": "MultitaperSegmenter"}
        fitted.band_hz_ = (35_000, 120_000)
        for key, value in more.items():
            setattr(fitted, key, value)
        fitted.save(folder / name)

    return make


def damaged(folder):
    repertoire()(folder)
    with open(folder / "song.npz", "r+b") as file:
        file.truncate(2000)


def flipped(folder):
    """Bytes changed in the middle, where the archive's own sums notice."""
    repertoire()(folder)
    data = bytearray((folder / "song.npz").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    (folder / "song.npz").write_bytes(data)


def newer(folder):
    repertoire()(folder)
    with np.load(folder / "song.npz") as file:
        arrays = dict(file)
    head = json.loads(str(arrays.pop("head"))) | {"version": 99}
    np.savez(folder / "song.npz", head=np.array(json.dumps(head)), **arrays)


def foreign(folder):
    np.savez(folder / "song.npz", a=np.zeros(3))


def pickled(folder):
    """An archive that would execute something if it were read carelessly."""
    np.savez(folder / "song.npz", head=np.array([{"a": 1}], dtype=object))


def headless(folder):
    """All is there but the settings of the segmenter."""
    repertoire()(folder)
    with np.load(folder / "song.npz") as file:
        arrays = dict(file)
    head = json.loads(str(arrays.pop("head")))
    del head["segmenter"]
    np.savez(folder / "song.npz", head=np.array(json.dumps(head)), **arrays)


def existing(name):
    def make(folder):
        (folder / name).mkdir()
        (folder / name / "mine.txt").write_text("keep")

    return make


# ------------------------------------------------------------------------ what happens meanwhile


@contextlib.contextmanager
def gone_after_search(path="bad.wav"):
    """The file is removed when the recordings have been listed, before they are read."""
    find = recordings.find_recordings

    def find_and_remove(*given):
        found = find(*given)
        Path(path).unlink()
        return found

    with mock.patch.object(recordings, "find_recordings", find_and_remove):
        yield


@contextlib.contextmanager
def while_read(change, path="bad.wav"):
    """Something happens to the file when its first block has been read."""
    blocks = recordings.Recording.blocks

    def changed_blocks(recording, *given, **named):
        for block in blocks(recording, *given, **named):
            yield block
            if recording.path.name == path and recording.path.exists():
                change(recording.path)

    with mock.patch.object(recordings.Recording, "blocks", changed_blocks):
        yield


def shorten(path):
    os.truncate(path, path.stat().st_size // 4)


@contextlib.contextmanager
def gone_after_detection(path="bad.wav"):
    """The file is removed when its calls have been found, before figures are drawn."""
    vectors = Repertoire.vectors

    def vectors_and_remove(*given):
        Path(path).unlink(missing_ok=True)
        return vectors(*given)

    with mock.patch.object(Repertoire, "vectors", vectors_and_remove):
        yield


@contextlib.contextmanager
def disk_full():
    def write(*given, **named):
        raise OSError(28, "No space left on device")

    with mock.patch.object(pd.DataFrame, "to_csv", write):
        yield


# --------------------------------------------------------------------------------------- the table


class Case(NamedTuple):
    """One bad input."""

    name: str
    make: Callable[[Path], object]
    command: str  # run in the folder of the case
    code: int  # expected exit code
    words: tuple[str, ...]  # the line says: which file, what is wrong, what to do
    leaves: str = ""  # what the command may leave behind
    meanwhile: Callable = contextlib.nullcontext
    apart: bool = False  # in a process of its own, to which permissions apply


def both(*makers):
    return lambda folder: [make(folder) for make in makers] and None


def talkers(n):
    """A folder of n talkers with one hum each."""

    def make(folder):
        for k in range(n):
            (folder / "talkers" / f"t{k}").mkdir(parents=True)
            soundfile.write(folder / "talkers" / f"t{k}" / "0.wav", hum(2, 8_000, k), 8_000)

    return make


def mine(name):
    def make(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("keep")

    return make


def foreign_weights(folder):
    save_file({"weight": np.zeros((3, 2), np.float32)}, folder / "net.safetensors")


def nothing(folder):
    pass


# name, maker, words in the line; each is tried alone and beside a good recording
BAD_FILES = [
    ("not audio", text("bad.wav", "no audio here"), ("bad.wav", "not audio", "convert")),
    ("damaged FLAC", damaged_in_the_middle, ("bad.flac", "damaged", "copy it again")),
    ("empty file", text("bad.wav", ""), ("bad.wav", "empty", "again")),
    ("zero samples", sound("bad.wav", lambda: noise(0)), ("bad.wav", "no samples", "again")),
    ("header only", header_only, ("bad.wav", "no samples", "again")),
    ("NaN sample", sound("bad.wav", lambda: with_one(np.nan), subtype="FLOAT"),
     ("bad.wav", "not finite", "0.5", "export it again")),
    ("infinite sample", sound("bad.wav", lambda: with_one(np.inf), subtype="DOUBLE"),
     ("bad.wav", "not finite", "0.5", "export it again")),
    ("silent", sound("bad.wav", seconds_of(0.0)), ("bad.wav", "silent", "check")),
    ("constant", sound("bad.wav", seconds_of(0.25)), ("bad.wav", "constant", "check")),
    ("rate too low", sound("bad.wav", noise, 48_000), ("bad.wav", "48000 Hz", "record at 240000")),
]  # fmt: skip
ALONE = [
    Case(name, make, f"detect {words[0]} -o calls.csv", 1, words)
    for name, make, words in BAD_FILES
]  # fmt: skip
BATCH = [
    Case(
        f"{name}, beside a good one",
        make,
        f"detect {words[0]} song.flac -o calls.csv",
        0,
        words,
        "calls.csv",
    )
    for name, make, words in BAD_FILES
]
SOME_CALLS = "build bad.wav -o out --n-seeds 0"
OTHERS = [
    Case("truncated WAV", cut("bad.wav", 0.5), "detect bad.wav -o calls.csv", 0,
         ("bad.wav", "header promises 4 s", "samples that are there are used"), "calls.csv"),
    Case("truncated FLAC", cut("bad.flac", 0.4), "detect bad.flac -o calls.csv", 0,
         ("bad.flac", "header promises 4 s", "samples that are there are used"), "calls.csv"),
    Case("header without a length", promises(0), "detect bad.wav -o calls.csv", 0,
         ("bad.wav", "header promises 0 s, file holds 4 s"), "calls.csv"),
    Case("header with half of the length", promises(0.5), "detect bad.wav -o calls.csv", 0,
         ("bad.wav", "header promises 2 s, file holds 4 s"), "calls.csv"),
    Case("other channels", four_channels, "detect bad.wav -o calls.csv", 0,
         ("bad.wav", "4 channels, channel 0 searched", "channel = 'all'"), "calls.csv"),
    Case("heavily clipped", sound("bad.wav", clipped), "detect bad.wav -o calls.csv", 0,
         ("24 calls",), "calls.csv"),
    *([Case("name that is no text", not_text, "detect night -o calls.csv", 0, ("24 calls",),
            "calls.csv")] if sys.platform == "linux" else []),
    Case("no such channel", nothing, "detect song.flac --channel 2 -o calls.csv", 1,
         ("song.flac", "no channel 2", "choose --channel 0 or 'mean'")),
    Case("channel is no number", nothing, "detect song.flac --channel left -o calls.csv", 1,
         ("channel", "left", "number from 0", "correct it")),
    Case("no such file", nothing, "build missing.wav -o out", 1,
         ("missing.wav", "no such file", "check the path")),
    Case("no such file, beside a good one", nothing, "detect missing.wav song.flac -o calls.csv",
         0, ("missing.wav", "no such file", "check the path"), "calls.csv"),
    Case("folder without recordings", lambda f: (f / "day").mkdir(), "build day -o out", 1,
         ("day", "no recordings", "check")),
    Case("unreadable folder", forbidden("day"), "build day -o out", 1,
         ("day", "cannot be read", "change its permissions"), apart=True),
    Case("unreadable folder, beside a good one", forbidden("day"),
         "detect . -o calls.csv", 0, ("day", "cannot be read", "change its permissions"),
         "calls.csv", apart=True),
    Case("unreadable file", forbidden("bad.flac"), "build bad.flac -o out", 1,
         ("bad.flac", "may not be read", "change its permissions"), apart=True),
    Case("file gone before it is read", sound("bad.wav", noise),
         "detect bad.wav song.flac -o calls.csv", 0, ("bad.wav", "no such file", "check the path"),
         "calls.csv", gone_after_search),
    Case("file gone while it is read", sound("bad.wav", calls(20)),
         "detect bad.wav song.flac -o calls.csv", 0, ("bad.wav", "no such file", "check the path"),
         "calls.csv", lambda: while_read(Path.unlink)),
    Case("file cut while it is read", sound("bad.wav", calls(20)),
         "detect bad.wav song.flac -o calls.csv", 0, ("bad.wav", "ends early", "wait until"),
         "calls.csv", lambda: while_read(shorten)),
    Case("file gone before the figures", sound("bad.wav", calls(20)),
         SOME_CALLS + " --n-clusters 2 --method kmeans --tau none", 0,
         ("bad.wav", "no such file", "check the path"), "out", gone_after_detection),
    Case("no calls", sound("bad.wav", noise), "build bad.wav -o out", 1,
         ("0 call(s)", "too few", "lower --threshold")),
    Case("no calls, only detected", sound("bad.wav", noise), "detect bad.wav -o calls.csv", 0,
         ("bad.wav", "no calls", "threshold"), "calls.csv"),
    Case("no calls to assign", lambda f: (repertoire()(f), sound("bad.wav", noise)(f)),
         "assign song.npz bad.wav -o out", 1, ("no calls", "check the band")),
    Case("one call", sound("bad.wav", calls(1)), SOME_CALLS, 1, ("1 call(s)", "too few", "add")),
    Case("fewer calls than units", nothing, "build song.flac -o out --n-clusters 60", 1,
         ("24 calls", "60 units", "lower --n-clusters")),
    Case("all calls outliers", nothing, "build song.flac -o out --tau 1.1", 1,
         ("0 of 24 calls", "tau = 1.1", "lower --n-clusters or")),
    Case("two calls unlike each other", sound("bad.wav", calls(2)),
         SOME_CALLS + " --tau none --n-clusters 2", 1, ("2 calls", "no unit", "lower --lam")),
    Case("duplicate calls", twice, SOME_CALLS + " --n-clusters 4", 0, ("report",), "out"),
    Case("the same file twice", nothing, "detect song.flac ./song.flac -o calls.csv", 0,
         ("24 calls",), "calls.csv"),
    Case("output folder that cannot be written", locked("shelf"), "build song.flac -o shelf/out",
         1, ("shelf/out", "cannot be written", "choose another place"), apart=True),
    Case("table that cannot be written", locked("shelf"), "detect song.flac -o shelf/calls.csv",
         1, ("shelf/calls.csv", "cannot be written", "choose another place"), apart=True),
    Case("folder for the table is not there", nothing, "detect song.flac -o shelf/calls.csv",
         1, ("shelf/calls.csv", "cannot be written", "choose another place")),
    Case("output in a file", nothing, "build song.flac -o song.flac/out", 1,
         ("song.flac/out", "cannot be written", "choose another place")),
    Case("output is a file", text("out", "mine"), "build song.flac -o out", 1,
         ("out", "is a file", "choose another name")),
    Case("output is a file, --force", text("out", "mine"), "build song.flac -o out --force", 1,
         ("out", "is a file", "choose another name")),
    Case("table is a folder", existing("calls.csv"), "detect song.flac -o calls.csv --force", 1,
         ("calls.csv", "is a folder", "choose another name")),
    Case("output exists", existing("out"), "build song.flac -o out", 1,
         ("out", "exists", "--force")),
    Case("table exists", text("calls.csv", "mine"), "detect song.flac -o calls.csv", 1,
         ("calls.csv", "exists", "--force")),
    Case("disk full", nothing, "detect song.flac -o calls.csv", 1,
         ("calls.csv", "No space left", "make room"), meanwhile=disk_full),
    Case("no repertoire file", nothing, "assign song.npz song.flac -o out", 1,
         ("song.npz", "no such file", "check the path")),
    Case("repertoire is a folder", existing("song.npz"), "assign song.npz song.flac -o out", 1,
         ("song.npz", "cannot be read", "name the")),
    Case("text as repertoire", text("song.npz", "hello"), "assign song.npz song.flac -o out", 1,
         ("song.npz", "not a repertoire", "name the repertoire.npz")),
    Case("empty repertoire", text("song.npz", ""), "assign song.npz song.flac -o out", 1,
         ("song.npz", "not a repertoire", "name the repertoire.npz")),
    Case("damaged repertoire", damaged, "assign song.npz song.flac -o out", 1,
         ("song.npz", "damaged", "build it again")),
    Case("repertoire with changed bytes", flipped, "assign song.npz song.flac -o out", 1,
         ("song.npz", "damaged", "build it again")),
    Case("foreign arrays", foreign, "assign song.npz song.flac -o out", 1,
         ("song.npz", "not a repertoire", "name the repertoire.npz")),
    Case("objects to be executed", pickled, "assign song.npz song.flac -o out", 1,
         ("song.npz", "not a repertoire", "build it again")),
    Case("newer repertoire", newer, "assign song.npz song.flac -o out", 1,
         ("song.npz", "version 99", "newer usvbook")),
    Case("repertoire of vectors", repertoire(segmenter_={}), "assign song.npz song.flac -o out", 1,
         ("song.npz", "segmenter", "build it again")),
    Case("repertoire without settings", headless, "assign song.npz song.flac -o out", 1,
         ("song.npz", "lacks segmenter", "build it again")),
    Case("unknown segmenter", repertoire(segmenter_={"name": "New"}),
         "assign song.npz song.flac -o out", 1, ("song.npz", "'New'", "update usvbook")),
    Case("no configuration", nothing, "build song.flac -o out --config lab.toml", 1,
         ("lab.toml", "cannot be read", "check the path")),
    Case("configuration is no TOML", text("lab.toml", "tau: 1"),
         "build song.flac -o out --config lab.toml", 1, ("lab.toml", "not TOML", "write lines")),
    Case("wrong key", text("lab.toml", "taus = 1"), "build song.flac -o out --config lab.toml", 1,
         ("lab.toml", "taus", "known: ")),
    Case("wrong type", text("lab.toml", 'n_clusters = "many"'),
         "build song.flac -o out --config lab.toml", 1,
         ("lab.toml", "n_clusters = 'many'", "a whole number", "correct it")),
    Case("wrong method", nothing, "build song.flac -o out --method magic --n-clusters 2", 1,
         ("method", "'magic'", "choose one of")),
    Case("wrong segmenter", nothing, "build song.flac -o out --segmenter ear", 1,
         ("segmenter", "'ear'", "choose multitaper or mupet")),
    Case("band upside down", nothing, "detect song.flac -o calls.csv --min-freq-hz 130000", 1,
         ("--min-freq-hz = 130000", "no band", "lower --min-freq-hz")),
    Case("no tapers", nothing, "detect song.flac -o calls.csv --n-tapers 0", 1,
         ("--n-tapers = 0", "between 1 and")),
    Case("threshold is no number", nothing, "detect song.flac -o calls.csv --threshold nan", 1,
         ("threshold = nan", "not a finite number")),
    Case("no clusters", nothing, "build song.flac -o out --n-clusters 0", 1,
         ("--n-clusters 0", "choose --n-clusters between 1 and")),
]  # fmt: skip
APART = "separate bad.wav -n 2 -o out"
TRAINED = "train talkers -o net.safetensors --steps 2 --hidden 4 --n-dims 3"
OVERLAPPING = [
    Case("silent mixture", sound("bad.wav", lambda: np.zeros(8_000), 8_000), APART, 0,
         ("audible bins are too few", "2 sources"), "out"),
    Case("constant mixture", sound("bad.wav", lambda: np.full(8_000, 0.3), 8_000), APART, 0,
         ("bad_source2.wav",), "out"),
    Case("clipped mixture", sound("bad.wav", lambda: np.clip(20 * noise(8_000), -0.1, 0.1), 8_000),
         APART, 0, ("bad_source2.wav",), "out"),
    Case("mixture of one window", sound("bad.wav", lambda: noise(256), 8_000), APART, 0,
         ("bad_source2.wav",), "out"),
    Case("mixture shorter than a window", sound("bad.wav", lambda: noise(100), 8_000), APART, 1,
         ("bad.wav", "100 samples", "less than one window", "longer")),
    Case("mixture with a NaN", sound("bad.wav", lambda: with_one(np.nan), subtype="FLOAT"), APART,
         1, ("bad.wav", "not finite", "0.5")),
    Case("mixture that is no audio", text("bad.wav", "no audio here"), APART, 1,
         ("bad.wav", "not audio", "convert")),
    Case("mixture at a rate without network", sound("bad.wav", noise, 192_000), APART, 1,
         ("192000 Hz", "resample", "weights")),
    Case("mixture at a low rate", sound("bad.wav", noise, 4_000), APART, 1,
         ("4000 Hz", "resample", "weights")),
    Case("no source asked for", sound("bad.wav", lambda: noise(8_000), 8_000),
         "separate bad.wav -n 0 -o out", 1, ("--n-sources must be from 1 to 50",)),
    Case("sources are there", both(sound("bad.wav", lambda: noise(8_000), 8_000),
         mine("out/bad_source1.wav")), APART, 1, ("out", "exists", "another")),
    Case("weights that are none", both(sound("bad.wav", lambda: noise(8_000), 8_000),
         text("net.safetensors", "weights")), APART + " --model net.safetensors", 1,
         ("net.safetensors", "damaged or no file of weights", "get it again")),
    Case("weights of another program", both(sound("bad.wav", lambda: noise(8_000), 8_000),
         foreign_weights), APART + " --model net.safetensors", 1,
         ("net.safetensors", "another program", "take a file of this package")),
    Case("training with one talker", talkers(1), TRAINED, 1,
         ("talkers", "one source only", "two or more sources")),
    Case("training with unreadable files", both(talkers(2), text("talkers/t0/0.wav", "no audio")),
         TRAINED, 1, ("1 of 2 files can be used", "2 or more are needed")),
    Case("training with a bad file too many", both(talkers(3), text("talkers/t2/0.wav", "noise")),
         TRAINED, 0, ("0.wav", "not audio", "left out"), "net.safetensors"),
    Case("training where a network is", both(talkers(2), mine("net.safetensors")), TRAINED, 1,
         ("net.safetensors", "exists", "another name")),
    Case("training from a damaged checkpoint",
         both(talkers(2), text("net.run.safetensors", "half a checkpoint")), TRAINED, 1,
         ("net.run.safetensors", "damaged", "get it again")),
    Case("training on a card that is not there", talkers(2), TRAINED + " --device warp", 1,
         ("device 'warp'", "cannot be used here", "take 'cpu'")),
    Case("unknown setting of a training", both(talkers(2), text("lab.toml", "hiden = 3")),
         TRAINED + " --config lab.toml", 1, ("hiden", "no setting of a training", "known")),
    Case("more talkers than there are", talkers(2), "evaluate talkers -n 3 --mixtures 1", 1,
         ("3 sources", "the bank has 2")),
]  # fmt: skip
CASES = ALONE + BATCH + OTHERS + OVERLAPPING


# --------------------------------------------------------------------------------------- the tests


class Outcome(NamedTuple):
    code: int
    lines: list[str]  # standard output and standard error
    left: set[str]  # names at the top of the folder under which files are new or changed


def bind_root():
    """Take from root the right to pass by permissions (capabilities 1 and 2 of Linux)."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability)


def run_apart(*words):
    """Run a command in a process of its own: exit code, all it printed."""
    program = [sys.executable, "-c", "from usvbook.cli import main; main()", *words]
    needed = hasattr(os, "geteuid") and os.geteuid() == 0 and sys.platform == "linux"
    done = subprocess.run(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=bind_root if needed else None,
        check=False,
    )
    return done.returncode, done.stdout


def state(folder):
    """Every file in a folder, also the hidden ones, with size and time of change.

    Work areas are left out: they hold what a repeated command need not do again.
    """
    kept = ("work", ".calls.csv.work")
    files = [p for p in folder.rglob("*") if p.is_file() and p.parent.name not in kept]
    return {p.relative_to(folder): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def play(case, folder, song):
    """Make what is bad in an empty folder, run the command there, and see what came of it."""
    shutil.copy(song, folder / "song.flac")
    with contextlib.chdir(folder):
        case.make(folder)
        before = state(folder)
        with case.meanwhile():
            code, said = (run_apart if case.apart else run_command)(*case.command.split())
        for path in [p for p in folder.rglob("*") if p.is_dir()]:
            path.chmod(0o755)  # so that the folder can be looked at, and removed
        after = state(folder)
        left = {path.parts[0] for path in after if after[path] != before.get(path)}
    return Outcome(code, [line for line in said.splitlines() if line.strip()], left)


def telling(case, lines):
    """The line that tells the fault: the one with most of the words."""
    return max(reversed(lines or [""]), key=lambda line: sum(w in line for w in case.words))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(case, tmp_path, song):
    if case.apart and sys.platform != "linux" and getattr(os, "geteuid", lambda: 0)() == 0:
        pytest.skip("permissions do not apply to this user")
    code, lines, left = play(case, tmp_path, song)
    said = "\n".join(lines)
    assert "Traceback" not in said
    assert code == case.code, said
    line = telling(case, lines)
    assert all(word in line for word in case.words), said
    assert line.startswith("usvbook: ") == (code != 0)
    assert code == 0 or line == lines[-1]
    assert left - {"bad.wav"} == {case.leaves} - {""}
    if "beside a good one" in case.name:
        assert len(pd.read_csv(tmp_path / "calls.csv")) == 24


# ------------------------------------------------------------------------------------ as a program


def table(song):
    """The cases and what each printed, as lines of Markdown."""
    yield "| bad input | command | exit | what it printed |"
    yield "| --- | --- | --- | --- |"
    for case in CASES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            code, lines, _ = play(case, folder, song)
            line = telling(case, lines).replace(str(folder), "...").replace("|", r"\|")
        yield f"| {case.name} | `{case.command}` | {code} | {line} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        good = Path(name) / "song.flac"
        soundfile.write(good, calls(24)(), RATE)
        for row in table(good):
            print(row, flush=True)
