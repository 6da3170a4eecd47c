"""Recordings, results and a browser that several tests share, made once."""

import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile
from typer.testing import CliRunner

from usvbook.cli import app
from usvbook.synthesis import draw_animal, synthesize

RATE = 250_000
CLASSES = [{"up": 1, "flat": 1}, {"chevron": 1, "down": 1}]  # what each of two animals sings


def pytest_collection_modifyitems(items):
    """The site, which takes minutes, comes first; the sliders, which want quiet, come last."""
    place = {"test_site.py": 0, "test_browser.py": 2}
    items.sort(key=lambda item: place.get(item.path.name, 1))


def run_command(*words):
    """Exit code of a command run in this process, and all it printed, a traceback included."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(app, [str(word) for word in words])
    fault = result.exception
    lost = "" if fault is None or isinstance(fault, SystemExit) else f"Traceback: {fault!r}"
    return result.exit_code, result.output + lost


def usvbook(*words):
    """What a command printed; it must go well."""
    code, said = run_command(*words)
    assert code == 0, said
    return said


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """A recording of four seconds with 24 calls."""
    path = tmp_path_factory.mktemp("song") / "song.flac"
    soundfile.write(path, synthesize(4, 24, snr_db=20, random_state=0)[0], RATE)
    return path


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Two animals, two recordings each: a folder with `early`, `late`, and their truth."""
    folder, truths = tmp_path_factory.mktemp("study"), []
    for k, classes in enumerate(CLASSES):
        animal = draw_animal(f"m{k}", np.random.default_rng(k), classes)
        for day, n in (("early", 60), ("late", 25)):
            path = folder / day / f"m{k}.flac"
            path.parent.mkdir(exist_ok=True)
            x, truth = synthesize(n / 5, n, RATE, 25, animal=animal, random_state=n + k)
            soundfile.write(path, x, RATE)
            truths.append(truth.assign(audio_path=str(path)))
    return folder, pd.concat(truths, ignore_index=True)


@pytest.fixture(scope="session")
def built(study):
    """The results folder of the early recordings: four units."""
    out = study[0] / "built"
    usvbook("build", study[0] / "early", "-o", out, "--n-clusters", 4, "--n-seeds", 2)
    return out


@pytest.fixture
def no_figures(monkeypatch):
    """Builds without figures, where these are not what is tested: most of the time goes there."""
    monkeypatch.setattr("usvbook.runs.draw_figures", lambda *given: {})


class TunerPage(NamedTuple):
    """`usvbook tune` at work."""

    address: str
    process: subprocess.Popen
    file: Path  # that settings are written to


@pytest.fixture(scope="session")
def tuner_page(built, tmp_path_factory):
    """The tuner of a results folder, run from another folder; interrupted when all is done."""
    pytest.importorskip("voila", reason="the page needs Voila: pip install 'usvbook[app]'")
    place = tmp_path_factory.mktemp("elsewhere")
    (place / "tmp").mkdir()
    # Tests that run in the background may be deaf to Ctrl-C, and so would be what they start.
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program = hear + "from usvbook.cli import main; main()"
    words = [sys.executable, "-c", program, "tune", built, "-o", "tuned.toml", "--no-browser"]
    process = subprocess.Popen(
        [*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=place,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(place / "tmp")},
    )  # fmt: skip
    with process:
        address = re.search(r"http://\S+", process.stdout.readline())[0]
        yield TunerPage(address, process, place / "tuned.toml")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0 and children
        assert not psutil.wait_procs(children, 30)[1], "nothing is left running"
    assert not [*(place / "tmp").glob("usvbook-*")], "nor lying about"


BROWSER = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
    "disable-background-networking", "disable-component-update", "disable-dev-shm-usage",
    "window-size=1400,1800", "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip


@pytest.fixture(scope="session")
def one_browser():
    """Headless Chromium that reaches nothing but this machine."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium with its chromedriver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in BROWSER:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def browser(one_browser):
    """The browser on an empty page: a page of another test that waits for its server is gone."""
    yield one_browser
    one_browser.get("about:blank")
    one_browser.get_log("browser")
