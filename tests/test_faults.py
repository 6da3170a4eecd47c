"""What happens to long runs: killed, out of disk, out of reach, interfered with.

Each time the run ends with a correct result or with one clear line, and the same command, given
again, goes on where it was and ends in the same bytes as a run that nobody disturbed.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from ast import literal_eval
from contextlib import contextmanager, suppress
from unittest import mock

import numpy as np
import pytest
import soundfile
from conftest import RATE, run_command, usvbook

from usvbook.deep_clustering import hum
from usvbook.preprocessing import CallImages
from usvbook.recordings import Recording
from usvbook.results_folder import results_folder, work_area
from usvbook.segmentation import MultitaperSegmenter, segment_recordings
from usvbook.synthesis import synthesize

N = 4  # recordings
OPTIONS = ("--n-clusters", 3, "--n-seeds", 0, "--tau", 0.6)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with four recordings."""
    folder = tmp_path_factory.mktemp("original")
    for k in range(N):
        soundfile.write(folder / f"{k}.wav", synthesize(2.5, 14, RATE, 25, random_state=k)[0], RATE)
    return folder


@pytest.fixture
def place(original, tmp_path, monkeypatch):
    """A folder to work in, with the recordings in the folder `in`."""
    shutil.copytree(original, tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(out):
    """Name and content of every result; run.json and report.html hold the date and timings."""
    files = [p for p in out.rglob("*") if p.is_file() and "work" not in p.parts]
    names = {p.relative_to(out).as_posix(): p.read_bytes() for p in files}
    return {name: names[name] for name in names if name not in ("run.json", "report.html")}


@pytest.fixture(scope="module")
def undisturbed(original, tmp_path_factory):
    """The results of a run that nobody disturbed, without figures."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(original, folder / "in")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("usvbook.runs.draw_figures", lambda *given: {})
        usvbook("build", "in", "-o", "out", *OPTIONS)
    return results(folder / "out")


@contextmanager
def searched():
    """The names of the recordings that are searched meanwhile."""
    names, segment = [], MultitaperSegmenter.segment

    def note(self, recording, patches=None):
        names.append(recording.path.name)
        return segment(self, recording, patches)

    with mock.patch.object(MultitaperSegmenter, "segment", note):
        yield names


def completed(place, *more):
    """The names of the recordings that a repeated command searches; its results must be right."""
    with searched() as names:
        usvbook("build", "in", "-o", "out", *OPTIONS, *more)
    return names


# ------------------------------------------------------------------------------------------ killed

# Without figures, which are most of the time. Ends itself at the fifth write to the disk after
# the given number of recordings is kept, or when the named result is to be moved to its place.
PROGRAM = """
import os, signal, sys, zipfile
from pathlib import Path
import usvbook.runs
from usvbook.cli import main

usvbook.runs.draw_figures = lambda *given: {}
n_kept, result = int(sys.argv.pop(1)), sys.argv.pop(1)
left = iter(range(4))

def deadly(function):
    def call(*given, **named):
        if len(list(Path("out/work").glob("*.npz"))) >= n_kept and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        if function is replace and Path(given[1]).name == result:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)
    return call

replace = os.replace
os.replace, os.fsync = deadly(os.replace), deadly(os.fsync)
zipfile.ZipFile.writestr = deadly(zipfile.ZipFile.writestr)
main()
"""
NEVER = N + 1


def start(n_kept, result="", *more):
    """A build in a process of its own that kills itself once it has come so far."""
    words = ["build", "in", "-o", "out", *OPTIONS, *more]
    command = [sys.executable, "-c", PROGRAM, str(n_kept), result, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_at_any_write(place, undisturbed):
    """In the second recording, in the last one, and while results are moved."""
    for n_kept in (1, N - 1):
        assert start(n_kept).wait(120) == -signal.SIGKILL
        assert len(list((place / "out" / "work").glob("*.npz"))) == n_kept
        assert results(place / "out") == {}
    assert start(NEVER, "run.json").wait(120) == -signal.SIGKILL
    assert (place / "out" / "calls.csv").exists() and not (place / "out" / "run.json").exists()
    assert start(NEVER).wait(120) == 0
    assert results(place / "out") == undisturbed
    assert len(list((place / "out" / "work").iterdir())) == N + 1  # and the lock: nothing half


def stopped_at_calls(fault):
    """A disk on which the new calls.csv cannot be moved into place."""
    replace = os.replace

    def replace_others(old, new):
        if str(new).endswith("out/calls.csv") and "work/new" in str(old):
            raise fault
        replace(old, new)

    return mock.patch("os.replace", replace_others)


def test_stopped_while_results_are_moved(place, undisturbed, no_figures):
    """By the user, or by a table that is open elsewhere: the results before it are put back."""
    usvbook("build", "in", "-o", "out", *OPTIONS, "--n-clusters", 2)
    before = results(place / "out")
    assert before != undisturbed
    denied = PermissionError(
        13, "Permission denied", "out/work/new/calls.csv", None, "out/calls.csv"
    )
    for fault, code in ((KeyboardInterrupt(), 130), (denied, 1)):
        with stopped_at_calls(fault):
            ended, said = run_command("build", "in", "-o", "out", *OPTIONS, "--force")
        assert ended == code and ("goes on" if code == 130 else "calls.csv: cannot be") in said
        assert results(place / "out") == before
    assert completed(place, "--force") == [] and results(place / "out") == undisturbed


@pytest.mark.parametrize("command", ["build", "assign"])
def test_nothing_is_dropped_before_results_have_moved(place, no_figures, command):
    """What is kept of an earlier run is still there where the new results could not be moved."""
    usvbook("build", "in", "-o", "first", *OPTIONS)
    words = {"build": ["build", "in"], "assign": ["assign", "first/repertoire.npz", "in"]}[command]
    usvbook(*words, "-o", "out", *(OPTIONS if command == "build" else ()))
    kept = sorted((place / "out" / "work").glob("*.npz"))
    words[-1] = "in/0.wav"  # needs one recording of four
    denied = PermissionError(13, "Permission denied", "out/work/new/calls.csv", None, "calls.csv")
    with stopped_at_calls(denied):
        code, said = run_command(*words, "-o", "out", "--force")
    assert code == 1 and sorted((place / "out" / "work").glob("*.npz")) == kept, said
    usvbook(*words, "-o", "out", "--force")
    assert len(list((place / "out" / "work").glob("*.npz"))) == 1


def test_killed_while_results_are_moved(place, undisturbed, no_figures):
    """Nobody puts anything back: the next run does, whether it may replace results or not."""
    usvbook("build", "in", "-o", "out", *OPTIONS, "--n-clusters", 2)
    before = results(place / "out")
    with stopped_at_calls(KeyboardInterrupt()), mock.patch("usvbook.results_folder.undo_move"):
        run_command("build", "in", "-o", "out", *OPTIONS, "--force")
    assert not (place / "out" / "run.json").exists()
    code, said = run_command("build", "in", "-o", "out", *OPTIONS)
    assert code == 1 and "--force" in said and results(place / "out") == before
    assert completed(place, "--force") == [] and results(place / "out") == undisturbed


def test_killed_with_processes(place, undisturbed):
    """The processes of a killed run may live on for a moment; they do no harm."""
    process = start(NEVER, "", "--n-jobs", 2)
    folder = place / "out" / "work"
    while process.poll() is None and len(list(folder.glob("*.npz"))) < 1:
        threading.Event().wait(0.02)
    process.kill()
    process.wait()
    assert start(NEVER, "", "--n-jobs", 2).wait(120) == 0
    assert results(place / "out") == undisturbed


# ---------------------------------------------------------------------------------------- clusters


def arm(place, stage, mark):
    """In a worker: the first one that begins such a part of the work is killed in it."""
    module, name = importlib.import_module(place), stage
    work = getattr(module, name)

    def deadly(*given):
        try:
            open(mark, "x").close()
        except FileExistsError:
            return work(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, name, deadly)


STAGES = {
    "usvbook.segmentation": "_segment_one",
    "usvbook.preprocessing": "_pictures",
    "usvbook.outliers": "_nearest_of",
    "usvbook.self_expression": "_rows_of",
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("module", STAGES)
def test_killed_worker(place, undisturbed, no_figures, module):
    """A worker of a cluster is killed in a stage; the bytes are those of one machine."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as local:
        with distributed.Client(local) as client:
            client.run(arm, module, STAGES[module], str(place / "killed"))
        usvbook("build", "in", "-o", "out", *OPTIONS, "--scheduler", local.scheduler_address)
    assert (place / "killed").exists() and results(place / "out") == undisturbed


# ------------------------------------------------------------------------------------------- disks


@contextmanager
def full_after(n_writes):
    """A disk that is full after some arrays were written."""
    left, write = iter(range(n_writes)), zipfile.ZipFile.writestr

    def until_full(*given):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        write(*given)

    with mock.patch.object(zipfile.ZipFile, "writestr", until_full):
        yield


def test_full_disk(place, undisturbed, no_figures):
    with full_after(100):  # two recordings and a half
        code, said = run_command("build", "in", "-o", "out", *OPTIONS)
    assert code == 1 and "out: cannot be written (No space left on device); make room" in said
    assert "goes on" in said and results(place / "out") == {}
    kept = sorted(p.name for p in (place / "out" / "work").iterdir())
    assert len(kept) == 3  # two recordings and the lock
    assert completed(place) == ["2.wav", "3.wav"] and results(place / "out") == undisturbed


def test_full_disk_at_the_end(place, undisturbed, no_figures):
    full = OSError(28, "No space left on device")
    with mock.patch("usvbook.runs.write_table", side_effect=full):
        code, said = run_command("build", "in", "-o", "out", *OPTIONS)
    assert code == 1 and "make room and repeat the command" in said
    assert completed(place) == [] and results(place / "out") == undisturbed


def test_results_folder_becomes_read_only(place, undisturbed, no_figures):
    denied = OSError(30, "Read-only file system")
    with mock.patch("usvbook.files.os.fsync", side_effect=denied):
        code, said = run_command("build", "in", "-o", "out", *OPTIONS)
    assert code == 1 and "out: cannot be written (Read-only file system)" in said
    assert completed(place) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert results(place / "out") == undisturbed


def test_read_error_in_the_middle(place, undisturbed, no_figures):
    """One recording cannot be read to its end: it is named, the others are used."""
    read = soundfile.SoundFile.read

    def fail(file, frames=-1, **named):
        if os.fsdecode(file.name).endswith("2.wav") and file.tell() > 0:
            raise OSError(5, "Input/output error")
        return read(file, frames, **named)

    with (
        mock.patch.object(soundfile.SoundFile, "read", fail),
        mock.patch("usvbook.levels.level_blocks.__defaults__", (1024, 64)),
    ):
        code, said = run_command("build", "in", "-o", "out", *OPTIONS)
    assert code == 0 and "2.wav: is damaged after" in said and "copy it again" in said, said
    assert completed(place, "--force") == ["2.wav"] and results(place / "out") == undisturbed


def test_detect_with_a_recording_that_cannot_be_read(place):
    """What is kept of the others stays for the time when it can be."""
    content = (place / "in" / "2.wav").read_bytes()
    (place / "in" / "2.wav").write_bytes(b"no audio")
    usvbook("detect", "in", "-o", "calls.csv")
    (place / "in" / "2.wav").write_bytes(content)
    with searched() as names:
        usvbook("detect", "in", "-o", "calls.csv", "--force")
    assert names == ["2.wav"]
    assert sorted(p.name for p in place.iterdir()) == ["calls.csv", "in"]


def test_vanished_mount(place, undisturbed, no_figures):
    """The folder of the recordings goes after the second; what was kept of them stays."""
    blocks = Recording.blocks

    def unplug(recording, *given, **named):
        if recording.path.name == "2.wav" and (place / "in").exists():
            (place / "in").rename(place / "unplugged")
        return blocks(recording, *given, **named)

    with mock.patch.object(Recording, "blocks", unplug):
        code, said = run_command("build", "in", "-o", "out", *OPTIONS)
    assert code == 0 and "2.wav: there is no such file" in said and "3.wav: there is no" in said
    code, said = run_command("build", "in", "-o", "out", *OPTIONS, "--force")
    assert code == 1 and "in: there is no such file or folder" in said
    assert (place / "out" / "run.json").exists()  # what was there stays
    (place / "unplugged").rename(place / "in")
    assert completed(place, "--force") == ["2.wav", "3.wav"]
    assert results(place / "out") == undisturbed


# ------------------------------------------------------------------------------- files that change


def test_clock_set_back(place, undisturbed, no_figures):
    """Dates in the past, in the future and all alike decide nothing."""
    usvbook("build", "in", "-o", "out", *OPTIONS)
    for path in (place / "in").iterdir():
        os.utime(path, (4e9, 4e9))
    for path in (place / "out" / "work").iterdir():
        os.utime(path, (0, 0))
    with mock.patch("time.time", return_value=0.0):
        assert completed(place, "--force") == [] and results(place / "out") == undisturbed
    x = soundfile.read(place / "in" / "1.wav")[0]
    soundfile.write(place / "in" / "1.wav", x[::-1], RATE)  # as long as before
    os.utime(place / "in" / "1.wav", (4e9, 4e9))
    assert completed(place, "--force") == ["1.wav"] and results(place / "out") != undisturbed


def test_damaged_entry(place, undisturbed, no_figures):
    """Cut off, or with one byte changed: said, and made anew."""
    usvbook("build", "in", "-o", "out", *OPTIONS)
    cut, changed = sorted((place / "out" / "work").glob("*.npz"))[:2]
    os.truncate(cut, cut.stat().st_size // 2)
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with searched() as names:
        said = usvbook("build", "in", "-o", "out", *OPTIONS, "--force")
    assert len(names) == 2 and said.count("was damaged and is made anew") == 2
    now = results(place / "out")
    assert now.pop("recordings.csv").count(b"was damaged and is made anew") == 2  # it says so
    assert now == {name: undisturbed[name] for name in undisturbed if name != "recordings.csv"}


def test_growing_file(place, undisturbed, no_figures):
    """A recording that somebody still writes to is named and left out; later it is used."""
    blocks, content = Recording.blocks, (place / "in" / "1.wav").read_bytes()

    def grow(recording, *given, **named):
        for block in blocks(recording, *given, **named):
            yield block
            if recording.path.name == "1.wav":
                with open(recording.path, "ab") as file:
                    file.write(bytes(64))

    with mock.patch.object(Recording, "blocks", grow):
        code, said = run_command("build", "in", "-o", "out", *OPTIONS)
    assert code == 0 and "1.wav: has changed while it was read; wait until nothing" in said
    (place / "in" / "1.wav").write_bytes(content)
    assert completed(place, "--force") == ["1.wav"] and results(place / "out") == undisturbed


# ------------------------------------------------------------------------- exactly what it must do


def test_only_what_changed_is_done_again(place, undisturbed, no_figures):
    assert len(completed(place)) == N
    assert completed(place, "--force", "--tau", 0.5) == []
    assert completed(place, "--force", "--picture", "frequency") == []
    assert len(completed(place, "--force", "--threshold", 3.5)) == N
    assert len(completed(place, "--force", "--segmenter", "mupet")) == 0  # another segmenter
    (place / "in" / "3.wav").rename(place / "in" / "0_first.wav")
    assert len(completed(place, "--force")) == N  # the runs between dropped what they did not use
    (place / "in" / "0_first.wav").rename(place / "in" / "3.wav")
    assert completed(place, "--force") == [] and results(place / "out") == undisturbed
    shutil.rmtree(place / "out" / "work")  # as the manual allows
    assert len(completed(place, "--force")) == N and results(place / "out") == undisturbed


def test_two_runs_on_one_folder(place, undisturbed, no_figures):
    with work_area(place / "out" / "work"):
        code, said = run_command("build", "in", "-o", "out", *OPTIONS)
        assert code == 1 and "out: another run is writing into this folder; wait until" in said
    assert len(completed(place)) == N and results(place / "out") == undisturbed


@pytest.mark.parametrize("record", ["run.json", "work/moving.json"])
def test_records_lead_nowhere_else(tmp_path, record):
    """Names in a folder that somebody else made cannot delete or overwrite what lies outside."""
    out, precious = tmp_path / "out", tmp_path / "precious.txt"
    (out / "work").mkdir(parents=True)
    precious.write_text("mine")
    (out / "notes.txt").write_text("mine")
    names = ["../precious.txt", str(precious), "a/../../precious.txt", "work/../../precious.txt"]
    names += ["", ".", "..", 7, None, "C:precious.txt", "mine", "calls.csv"]
    (out / "mine").mkdir()
    (out / record).write_text(json.dumps({"files": names}))
    (out / "calls.csv").write_text("old")
    with results_folder(out, force=True) as fresh:
        (fresh / "run.json").write_text("{}")
    assert precious.read_text() == "mine" and (out / "notes.txt").read_text() == "mine"
    assert not (out / "calls.csv").exists() and (out / "run.json").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
@pytest.mark.parametrize("link", ["work/old", "work/old/figures"])
def test_nothing_is_put_back_from_elsewhere(tmp_path, link):
    """A stranger's list of moves, and a link to where the user's own files lie."""
    out, own = tmp_path / "out", tmp_path / "own"
    (out / link).parent.mkdir(parents=True)
    (own / "figures").mkdir(parents=True)
    for name in ("a.png", "figures/a.png"):
        (own / name).write_text("mine")
    (out / link).symlink_to(own)
    names = {"files": [], "old": ["a.png", "figures/a.png"]}
    (out / "work" / "moving.json").write_text(json.dumps(names))
    with results_folder(out, force=True) as fresh:
        (fresh / "run.json").write_text("{}")
    assert {p.read_text() for p in own.rglob("*.png")} == {"mine"}
    assert len(list(own.rglob("*.png"))) == 2 and not list(out.rglob("*.png"))


def test_detect_goes_on_where_it_was(place):
    with full_after(100):
        code, said = run_command("detect", "in", "-o", "calls.csv")
    assert code == 1 and "calls.csv: cannot be written (No space left on device)" in said
    with searched() as names:
        usvbook("detect", "in", "-o", "calls.csv")
    assert names == ["2.wav", "3.wav"]
    usvbook("detect", "in", "-o", "again.csv")
    assert (place / "calls.csv").read_bytes() == (place / "again.csv").read_bytes()
    assert sorted(p.name for p in place.iterdir()) == ["again.csv", "calls.csv", "in"]


# ------------------------------------------------------------------------------------------ deaf

ALL_COMMANDS = """
import sys
import usvbook.runs
from usvbook.cli import app, take_streams

take_streams()
usvbook.runs.draw_figures = lambda *given: {}
ended = {}
for words in open("commands.txt"):
    words = words.split()
    try:
        app(words)
    except SystemExit as end:
        ended[words[0]] = end.code
open("ended.txt", "w").write(repr(ended))
"""
COMMANDS = f"""\
detect in/0.wav in/broken.wav -o calls.csv
build in -o out {" ".join(map(str, OPTIONS))}
assign out/repertoire.npz in/1.wav -o new
train hums -o net.safetensors --steps 2 --hidden 4 --n-dims 3
evaluate hums --model net.safetensors --mixtures 1 -o scores.csv
separate hums/a/0.wav -n 2 -o apart --model net.safetensors
"""
DEAF = {
    "errors closed": "{} 2>&-",
    "all closed": "{} <&- >&- 2>&-",
    "a reader that has gone": "{} 2>&1 | true",
    "a full disk": "{} >/dev/full 2>/dev/full",
}


@pytest.fixture(scope="module")
def busy(original, tmp_path_factory):
    """A folder in which every command has something to do and something to say."""
    folder = tmp_path_factory.mktemp("busy")
    shutil.copytree(original, folder / "in")
    (folder / "in" / "broken.wav").write_text("no audio")
    for k, name in enumerate("ab"):
        (folder / "hums" / name).mkdir(parents=True)
        soundfile.write(folder / "hums" / name / "0.wav", hum(2, 8_000, k, 100 + 40 * k), 8_000)
    (folder / "commands.txt").write_text(COMMANDS)
    return folder


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the shell and its devices")
def test_every_command_where_nobody_listens(busy):
    """A pipe whose reader has gone before the first word: each command ends well, and is whole."""
    program = f"(sleep 0.3; {sys.executable} -c '{ALL_COMMANDS}') 2>&1 | true"
    subprocess.run(["sh", "-c", program], cwd=busy, check=True)
    ended = literal_eval((busy / "ended.txt").read_text())
    assert ended == dict.fromkeys([line.split()[0] for line in COMMANDS.splitlines()], 0)
    for name in ("calls.csv", "out/run.json", "new/run.json", "net.safetensors", "scores.csv"):
        assert (busy / name).exists(), name
    notes = json.loads((busy / "out" / "run.json").read_text())["notes"]
    assert any("broken.wav" in note for note in notes)  # what nobody heard is kept


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the shell and its devices")
@pytest.mark.parametrize("how", DEAF)
def test_table_where_nobody_listens(busy, tmp_path, how):
    program = f"{sys.executable} -c 'from usvbook.cli import main; main()' detect"
    program += f" {busy / 'in'} -o {tmp_path / 'calls.csv'}"
    line = DEAF[how].format("{ " + program + "; echo $? >ended; }")
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "ended").read_text() == "0\n" and (tmp_path / "calls.csv").exists(), done
    assert done.stderr == b""
    assert sorted(os.listdir(tmp_path)) == [".calls.csv.work", "calls.csv", "ended"]


def test_no_bar_without_a_terminal(busy, tmp_path):
    """Words and no bar in a file; on a terminal the bar is there, and hides no word."""
    program = [sys.executable, "-c", "from usvbook.cli import main; main()", "detect"]
    program += [str(busy / "in"), "-o"]
    done = subprocess.run(
        [*program, tmp_path / "a.csv"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "detecting" not in done.stderr and "note: " in done.stderr
    termios = pytest.importorskip("termios", reason="terminals of this kind are of Unix")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    process = subprocess.Popen([*program, tmp_path / "b.csv"], stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with suppress(OSError):  # the terminal ends with its last user
        while more := os.read(ours, 4096):
            said += more
    assert process.wait() == 0 and b"detecting" in said and b"note: " in said
    os.close(ours)


# ---------------------------------------------------------------------------------- the same bytes


def test_processes_order_language_zone_and_folder(original, tmp_path):
    """Figures and all, from two processes in another folder under another clock."""
    files = [original / f"{k}.wav" for k in range(N)]
    usvbook("build", *files, "-o", tmp_path / "here", *OPTIONS)
    words = ["build", *files[::-1], "-o", tmp_path / "there", *OPTIONS, "--n-jobs", 2]
    program = "import locale; locale.setlocale(locale.LC_ALL, ''); "
    program += "from usvbook.cli import main; main()"
    env = {"TZ": "Pacific/Chatham", "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"}
    languages = ["de_DE.UTF-8", "C"]  # the second where the first is not installed
    for language in languages:
        env |= {"LC_ALL": language, "LANG": language, "PYTHONHASHSEED": "7"}
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, words)],
            env=os.environ | env, cwd=original.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "unsupported locale" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    here, there = results(tmp_path / "here"), results(tmp_path / "there")
    assert len(here) > 10 and [name for name in here if here[name] != there[name]] == []
    assert sorted(here) == sorted(there)


@pytest.mark.parametrize("block_samples", [999, 65_536, 10**7])
def test_size_of_blocks(original, block_samples):
    """Samples read in pieces of any size give the same calls; so do pictures made in any blocks."""
    blocks = Recording.blocks

    def regrouped(recording, n, overlap=0, start=0, stop=None):
        assert overlap == 0
        stop = recording.n_samples if stop is None else min(stop, recording.n_samples)
        pieces = [x for _, x in blocks(recording, block_samples, 0, start, stop)]
        x = np.concatenate([np.zeros(0, np.float32), *pieces])
        for first in range(0, len(x), n):
            yield start + first, x[first : first + n]

    plain = segment_recordings(original / "0.wav").calls
    with mock.patch.object(Recording, "blocks", regrouped):
        found = segment_recordings(original / "0.wav").calls
    assert found.table.equals(plain.table)
    assert all(np.array_equal(a, b) for a, b in zip(found.patches, plain.patches, strict=True))
    assert np.array_equal(CallImages(n_jobs=2).transform(found), CallImages().transform(plain))
