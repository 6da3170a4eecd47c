"""The command line and the functions behind it: equal defaults, equal words, honest faults."""

import inspect
from unittest import mock

import numpy as np
import pytest
import typer
from conftest import run_command

from usvbook import (
    curated_results,
    demo,
    mark_tables,
    marks,
    mixtures,
    page_server,
    past_runs,
    review,
    runs,
    separation,
    separation_runs,
    sequence_runs,
    sequence_studies,
    studies,
    study_runs,
    whole_study,
)
from usvbook.cli import app, options_by_name
from usvbook.files import Fault
from usvbook.mupet import MupetSegmenter
from usvbook.repertoire import Repertoire
from usvbook.segmentation import MultitaperSegmenter
from usvbook.settings import SETTINGS

COMMANDS = typer.main.get_command(app).commands
ESTIMATORS = (MultitaperSegmenter, MupetSegmenter, Repertoire)
BEHIND = {  # what a command hands its options to
    "detect": (runs.detect_recordings, *ESTIMATORS),
    "build": (runs.build_repertoire, *ESTIMATORS),
    "assign": (runs.assign_recordings,),
    "convert": (marks.convert_marks, mark_tables.Reading),
    "review": (page_server.serve, review.Review),
    "curate": (
        curated_results.apply_decisions,
        curated_results.parts_by_kmeans,
        curated_results.take_over,
    ),
    "compare": (study_runs.compare_results,),
    "sequences": (sequence_runs.sequence_results, studies.Design, sequence_studies.Questions),
    "study": (whole_study.run_study,),
    "demo": (demo.run_demo,),
    "tune": (page_server.serve, past_runs.calls_to_tune, *ESTIMATORS),
    "separate": (separation_runs.separate_recording, separation.Settings),
    "train": (separation_runs.train_network, mixtures.Recipe),
    "evaluate": (separation_runs.evaluate_network,),
}
# What no function has, or must be told: places, clusters, files of settings, and settings
# without an estimator.
OF_THE_PROGRAM = {
    "out", "to", "marks", "marks_format", "animals",
    "config", "scheduler", "segmenter", "recipe", "help",
}  # fmt: skip
CHOSEN = {
    ("fmt", "by their content"), ("label_column", "the usual one"),  # of files of marks
    ("columns", "None"), ("decimal", "auto"),  # of files of marks
    ("channel", "0"),  # a setting of a run, of every command that opens recordings
    ("time_expansion", "as GUANO says, or 1"),  # usvbook.recordings.Recording
    ("n_jobs", "-1"),  # the tuner is for one who waits
    ("model", "the one for the sampling rate"),  # None
    ("n_sources", "estimated"),  # None
    ("new", "False"),  # of study: another thing to do
    ("force", "False"),  # of evaluate, whose table the program writes
    ("name", "None"), ("take", "False"), ("who", "this user"),  # of curate
    ("split", "None"), ("background", "None"), ("time_limit_s", "None"),
}  # fmt: skip


def shown_default(option):
    """The default of an option as the help has it."""
    if "[default: " in (option.help or "").replace("\\", ""):
        return option.help.replace("\\", "").rpartition("[default: ")[2].rstrip("]")
    return str(option.default)


def own_defaults(command, name):
    """The defaults of a parameter in what is behind the command, as texts."""
    found = []
    for one in BEHIND[command]:
        parameter = inspect.signature(one).parameters.get(name)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            found.append(parameter.default)
    return found


def same(shown, value):
    """Does a text say the value?"""
    try:
        return float(shown) == float(value)
    except (TypeError, ValueError):
        return shown.lower() == str(value).lower()


def test_every_command_is_known_here():
    assert set(COMMANDS) == set(BEHIND)


@pytest.mark.parametrize("command", BEHIND)
def test_defaults_are_those_of_the_functions(command):
    """What the help shows, and what is done without the option, is what Python does."""
    for option in COMMANDS[command].params:
        if option.param_type_name == "argument" or option.name in OF_THE_PROGRAM:
            continue
        shown, values = shown_default(option), own_defaults(command, option.name)
        if (option.name, shown) in CHOSEN:
            continue
        assert values, f"{command}: {option.name} belongs to nothing behind the command"
        texts = shown.split("; mupet ")
        for value in values:
            assert any(same(text, value) for text in texts), (command, option.name, shown, value)


@pytest.mark.parametrize("command", BEHIND)
def test_options_carry_the_names_of_the_parameters(command):
    """`--n-jobs` is `n_jobs`: a fault in the words of the library finds its option."""
    odd = {"n_steps": "--steps", "n_mixtures": "--mixtures", "seed": "--random-state"}
    odd["fmt"] = "--from"
    for name, option in options_by_name(command).items():
        assert option == odd.get(name, "--" + name.replace("_", "-"))


def test_every_setting_is_an_option():
    for command, owners in (("detect", ("Detection",)), ("build", ("Detection", "Repertoire"))):
        wanted = {n for n, s in SETTINGS.items() if s.owner.startswith(owners)}
        assert wanted <= set(options_by_name(command))


def test_a_fault_of_the_program_is_told_as_one(song, tmp_path):
    """NumPy's complaints are nobody's fault but ours; a Fault is told, in the words of options."""
    words = ("detect", song, "-o", tmp_path / "calls.csv")
    place = "usvbook.segmentation.MultitaperSegmenter.segment"
    with mock.patch(place, lambda *given: np.zeros(3) + np.zeros(4)):
        code, said = run_command(*words)
    last = said.strip().splitlines()[-1]
    assert code == 1 and last.startswith("usvbook: fault of the program, no results were written")
    assert "broadcast" in last and "USVBOOK_DEBUG=1" in last and "/issues" in last
    with mock.patch(place, side_effect=Fault("min_freq_hz is odd; pass force=True or n_jobs=2")):
        code, said = run_command(*words)
    last = said.strip().splitlines()[-1]
    assert code == 1 and last == "usvbook: --min-freq-hz is odd; pass --force or --n-jobs 2"
    assert not (tmp_path / "calls.csv").exists()
