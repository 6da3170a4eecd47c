"""The tuner: what it gives can be built again, and its page is closed to others."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import warnings

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import run_command, usvbook

from usvbook.listening import call_sound
from usvbook.page_server import listen
from usvbook.past_runs import calls_to_tune
from usvbook.repertoire import Repertoire
from usvbook.run_record import Watch
from usvbook.simulated_pictures import simulated_pictures
from usvbook.trials import Choice, Trials, fit, follow_path, graph, write_config
from usvbook.tuning import Tuner, listen_table


@pytest.fixture(scope="module")
def tuned(built):
    """The trials of a results folder."""
    calls, template = calls_to_tune([str(built)], {}, None, Watch())
    return Trials(calls, template)


def test_calls_of_a_folder_are_those_it_was_built_from(built, tuned):
    table = pd.read_csv(built / "calls.csv")
    assert (tuned.calls.table["onset_s"].round(6) == table["onset_s"]).all()
    start = Choice(tuned.template.tau, tuned.template.lam, 4, "lasso")
    assert (fit(tuned, start).labels_ == table["unit"]).all()


@pytest.mark.parametrize(
    "choice",
    [Choice(0.7, 0.2, 6, "lasso"), Choice(None, 0.3, 3, "omp"), Choice(0.5, 0.3, 5, "cosine")],
)
def test_file_gives_the_same_labels(choice, tuned, study, tmp_path, no_figures):
    """`usvbook build --config` with the file that the tuner wrote."""
    file = write_config(tuned, choice, tmp_path / "tuned.toml")
    words = ("--config", file, "--n-seeds", 0)
    usvbook("build", study[0] / "early", "-o", tmp_path / "again", *words)
    again = pd.read_csv(tmp_path / "again" / "calls.csv")
    assert (again["unit"] == fit(tuned, choice).labels_).all()


def test_path_and_solver_give_one_graph():
    X, _ = simulated_pictures(120, random_state=0)
    solved, followed = (Trials(X, Repertoire(5, tau=0.4)) for _ in range(2))
    assert follow_path(followed, Choice(0.4, 0.3, 5, "lasso"))
    for lam in (0.1, 0.17, 0.45, 0.9):
        choice = Choice(0.4, lam, 5, "lasso")
        one, two = graph(solved, choice), graph(followed, choice)
        assert abs(one.affinity - two.affinity).max() < 1e-6
        assert (one.n_components, one.n_isolated) == (two.n_components, two.n_isolated)


def test_many_moves_end_at_the_last():
    """Sliders pulled faster than anything can be computed."""
    X, _ = simulated_pictures(80, random_state=0)
    tuner = Tuner(X, Repertoire(4, tau=None))
    for k in (3, 4, 5, 6, 7):
        tuner.controls["n_clusters"].value = k
    assert tuner.wait() and "K = 7" in tuner.screen.places["mosaic"].value
    assert (
        len(tuner.controls["unit"].options) == 7 and "ready" in tuner.screen.places["status"].value
    )
    assert "without recordings" in tuner.screen.places["listen"].value
    assert all("usvbook-old" not in place._dom_classes for place in tuner.screen.places.values())


def test_tuner_hides_no_warnings_for_good():
    before = list(warnings.filters)
    tuner = Tuner(simulated_pictures(60, random_state=0)[0], Repertoire(3, tau=None, lam=0.6))
    assert tuner.wait() and list(warnings.filters) == before


def test_too_few_calls_are_refused():
    with pytest.raises(ValueError, match=r"3 call\(s\) are too few"):
        Tuner(np.eye(3, dtype=np.float32))


def test_recordings_that_are_gone(tuned):
    table = tuned.calls.table.assign(audio_path="gone.flac")
    lost = Trials(type(tuned.calls)(table, tuned.calls.patches, tuned.calls.band_hz, {}))
    assert "gone.flac" in listen_table(lost, Choice(None, 0.3, 2, "lasso"), 0)
    assert call_sound(tuned.calls, 0)[:4] == b"RIFF"


# -------------------------------------------------------------------------------------- the page


def status_of(address):
    """The status of a page, redirections not followed, and its text."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *given):
            return None

    try:
        with urllib.request.build_opener(Stay).open(address, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_page_is_served_with_the_token_only(tuner_page):
    address = tuner_page.address
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
    code, text = status_of(address)  # its end comes when the tuner is there
    assert code == 200 and "reading the calls" in text and "ready = true" in text
    bare = address.partition("?")[0]
    for closed in (bare, bare + "?token=wrong", bare + "api/kernels", bare + "voila/render/x"):
        code, text = status_of(closed)
        assert code in (302, 403) and "voila" not in text, closed
    code, text = status_of(address)
    assert code == 200 and "kernelId" in text
    assert not re.search(r'(src|href)="(https?:)?//', text), "nothing comes from other hosts"
    assert tuner_page.process.poll() is None
    port = re.search(r":(\d+)/", address)[1]
    code, said = run_command("tune", ".", "--port", port)
    assert code == 1 and f"port {port} cannot be used" in said, "a second tuner needs another port"


WAITS = """
import signal, sys, threading
from usvbook.page_server import serve
for number in (signal.SIGHUP, signal.SIGTERM):  # ignored where the tests run under nohup
    signal.signal(number, signal.SIG_DFL)
def make():
    print("made", file=sys.stderr, flush=True)
    threading.Event().wait(60)
serve(make, browser=False)
"""
ENDS = ["SIGHUP", "SIGTERM", "SIGKILL"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("name", ENDS)
def test_nothing_is_left_running(name):
    """However the command ends, its server ends too, and the port is free again."""
    pytest.importorskip("voila", reason="the page needs Voila: pip install 'usvbook[app]'")
    command = subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with command:
        port = int(re.search(r":(\d+)/", command.stdout.readline())[1])
        while command.stderr.readline() != "made\n":
            pass
        (server,) = psutil.Process(command.pid).children()
        command.send_signal(getattr(signal, name))
        command.wait(60)
        psutil.wait_procs([server], 60)
        assert not server.is_running()
        listen(port).close()


def test_command_without_voila_says_what_to_install(built, monkeypatch):
    monkeypatch.setitem(sys.modules, "voila", None)
    code, said = run_command("tune", built)
    assert code == 1 and "pip install 'usvbook[app]'" in said and "Traceback" not in said


def test_command_says_what_is_wrong_with_the_folder(built, tmp_path):
    (tmp_path / "repertoire.npz").write_bytes(b"")
    (tmp_path / "run.json").write_text("{}")
    code, said = run_command("tune", tmp_path)
    assert code == 1 and "name the recordings instead" in said
