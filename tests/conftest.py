"""Recordings and results that several tests share, made once."""

import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from usvbook.cli import app
from usvbook.synthesis import draw_animal, synthesize

RATE = 250_000
CLASSES = [{"up": 1, "flat": 1}, {"chevron": 1, "down": 1}]  # what each of two animals sings


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
    monkeypatch.setattr("usvbook.cli.draw_figures", lambda *given: {})
