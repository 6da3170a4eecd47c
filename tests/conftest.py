"""Recordings and results that several tests share, made once."""

import warnings

import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from usvbook.cli import app
from usvbook.synthesis import make_study, synthesize

CLASSES = {"A": {"up": 1, "flat": 1}, "B": {"chevron": 1, "down": 1}}


def usvbook(*words, code=0):
    """Run a command in this process: all it printed. Fails on a traceback or another exit code."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """A recording of four seconds with 24 calls."""
    path = tmp_path_factory.mktemp("song") / "song.flac"
    soundfile.write(path, synthesize(4, 24, snr_db=20, random_state=0)[0], 250_000)
    return path


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A folder of two recordings with 60 calls each, of four classes, and their truth."""
    folder = tmp_path_factory.mktemp("study") / "recordings"
    truth = make_study(folder, 1, 60, CLASSES, snr_db=25, random_state=3)
    truth["audio_path"] = [str(folder / name) for name in truth["audio_path"]]
    return folder, truth


@pytest.fixture(scope="session")
def built(study):
    """The results folder of that study, four units."""
    out = study[0].parent / "built"
    usvbook("build", study[0], "-o", out, "--n-clusters", 4, "--n-seeds", 2)
    return out


@pytest.fixture(scope="session")
def calls(built):
    return pd.read_csv(built / "calls.csv")
