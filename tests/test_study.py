"""A study in one file: what is done again when something changed, and that nothing is lost."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import RATE, run_command

from usvbook.curated_results import open_log
from usvbook.curation import decide
from usvbook.results_folder import LOG
from usvbook.synthesis import draw_animal, synthesize
from usvbook.whole_study import run_study

TEXT = """recordings = ["recordings"]
animals = "animals.csv"
n_seeds = 0

[settings]
n_clusters = 3

[compare]
n_permutations = 99

[sequences]
n_shuffles = 19
"""


@pytest.fixture(scope="module", autouse=True)
def few_figures():
    """Most of the time goes into figures, which are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("usvbook.runs.draw_figures", lambda *given: {})
        patch.setattr("usvbook.curated_results.save_figures", lambda *given: {})
        patch.setattr("usvbook.study_figures.draw_study", lambda *given: {})
        patch.setattr("usvbook.sequence_runs.figures_of_order", lambda *given: {})
        yield


FIRST = "for the first time"
KEPT = {"results": "", "comparison": "", "order": ""}
NUMBERS = ("*.csv", "comparison.json", "sequences.json", "repertoire.npz")


def sing(path, seed, n=12):
    """A recording of some seconds."""
    animal = draw_animal(path.stem, np.random.default_rng(seed), {"up": 1, "down": 1, "flat": 1})
    sound = synthesize(n / 5, n, RATE, 25, animal=animal, random_state=seed)[0]
    soundfile.write(path, sound, RATE)


def write_rows(folder):
    """animals.csv for what lies in the folder: m0, m1, ... of A and B in turn."""
    names = sorted(path.name for path in (folder / "recordings").glob("*.flac"))
    rows = [f"{name},m{k},{'AB'[k % 2]}" for k, name in enumerate(names)]
    (folder / "animals.csv").write_text("audio_path,animal,group\n" + "\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory, few_figures):
    """Six recordings of two groups, with their table and study.toml; nothing is run."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "recordings").mkdir()
    for k in range(6):
        sing(folder / "recordings" / f"r{k}.flac", k)
    write_rows(folder)
    (folder / "study.toml").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def done(made):
    """The same study, run once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        assert run_study("study.toml", "out") == dict.fromkeys(KEPT, FIRST)
    return made


@pytest.fixture
def study(done, tmp_path):
    """A moved copy of the study that was run."""
    place = tmp_path / "moved"
    shutil.copytree(done, place)
    return place


def end(*given):
    """Somebody presses Ctrl-C."""
    raise KeyboardInterrupt


def numbers(out):
    """Bytes of all tables and numbers of a study."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for part in ("results", "comparison", "order")
        for pattern in NUMBERS
        for path in (out / part).glob(pattern)
    }


def test_the_same_file_gives_the_same_bytes(done, tmp_path, monkeypatch):
    """In a year, in another place, and after it was ended in the midst of its first build."""
    shutil.copytree(done, tmp_path / "x", ignore=shutil.ignore_patterns("out"))
    monkeypatch.chdir(tmp_path / "x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("usvbook.runs.fit_calls", end)
        assert run_command("study", "study.toml", "-o", "out")[0] == 130
    assert not (tmp_path / "x" / "out" / "results" / "calls.csv").exists()
    assert run_study("study.toml", "out") == dict.fromkeys(KEPT, FIRST)
    first, again = numbers(done / "out"), numbers(tmp_path / "x" / "out")
    assert len(first) > 12 and first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


def test_a_moved_study_is_kept_and_its_recordings_are_found(study, monkeypatch):
    assert run_study(study / "study.toml", study / "out") == KEPT
    monkeypatch.chdir(study)
    assert run_study("study.toml", "out") == KEPT  # from another working directory
    decide(open_log(study / "out" / "results"), {"op": "reject", "unit": 0, "who": "anna"})
    (study / "study.toml").write_text(TEXT)
    assert run_study("study.toml", "out")["curated"] == FIRST  # pictures are cut again


def test_one_setting_is_changed(study):
    out = study / "out"
    before = numbers(out)
    (study / "study.toml").write_text(TEXT + "max_gap_s = 0.1\n")
    assert run_study(study / "study.toml", out) == KEPT | {"order": "settings of sequences"}
    after = numbers(out)
    changed = {name.partition("/")[0] for name in before if before[name] != after[name]}
    assert changed == {"order"}
    (study / "study.toml").write_text(TEXT.replace("= 99", "= 199"))
    assert run_study(study / "study.toml", out) == KEPT | {
        "comparison": "settings of compare", "order": "settings of sequences",
    }  # fmt: skip


def test_one_row_of_the_animals_is_changed(study):
    table = (study / "animals.csv").read_text()
    (study / "animals.csv").write_text(table.replace("r0.flac,m0", "r0.flac,x0"))
    assert run_study(study / "study.toml", study / "out") == KEPT | {
        "comparison": "animals", "order": "animals",
    }  # fmt: skip
    assert "x0" in pd.read_csv(study / "out" / "order" / "animals.csv")["animal"].tolist()


def test_one_recording_is_added(study, monkeypatch):
    """Only the new one is searched; then units, comparison and order are made again."""
    from usvbook.segmentation import MultitaperSegmenter

    sing(study / "recordings" / "r6.flac", 6)
    write_rows(study)
    searched, search = [], MultitaperSegmenter.segment

    def segment(self, recording, *given, **more):
        searched.append(str(getattr(recording, "path", recording)))
        return search(self, recording, *given, **more)

    monkeypatch.setattr(MultitaperSegmenter, "segment", segment)
    done = run_study(study / "study.toml", study / "out")
    assert done == {
        "results": "recordings",
        "comparison": "animals, calls",
        "order": "animals, calls",
    }
    assert len(searched) == 1 and searched[0].endswith("r6.flac")
    page = (study / "out" / "index.html").read_text(encoding="utf-8")
    assert "4 animals of A against 3 of B" in page and "<b>done</b>: recordings" in page


def test_one_decision_is_made(study):
    out = study / "out"
    decide(open_log(out / "results"), {"op": "reject", "unit": 0, "who": "anna"})
    assert run_study(study / "study.toml", out) == {
        "results": "", "curated": FIRST, "comparison": "calls", "order": "calls",
    }  # fmt: skip
    calls = pd.read_csv(out / "curated" / "calls.csv")
    told = pd.read_csv(out / "comparison" / "usage.csv").filter(like="unit_")
    assert told.to_numpy().sum() == calls["accepted"].sum() < len(calls)
    assert run_study(study / "study.toml", out) == KEPT | {"curated": ""}
    decide(open_log(out / "results"), {"op": "undo", "undoes": 1, "who": "anna"})
    assert run_study(study / "study.toml", out)["curated"] == "decisions"


def test_decisions_outlive_a_build_that_changes_the_units(study):
    """They are kept with what they are about, and carried over by the command that is printed."""
    out = study / "out"
    decide(open_log(out / "results"), {"op": "rename", "unit": 1, "name": "up", "who": "anna"})
    log = (out / "results" / LOG).read_bytes()
    sing(study / "recordings" / "r6.flac", 6)
    write_rows(study)
    code, said = run_command("study", study / "study.toml", "-o", out)
    assert code == 0 and "1 decision(s) are about the units of an earlier build" in said
    assert (out / "decided-1" / LOG).read_bytes() == log and not (out / "results" / LOG).exists()
    code, said = run_command("curate", "carry", out / "decided-1", out / "results", "--take")
    assert code == 0 and "1 decisions written" in said
    assert run_study(study / "study.toml", out)["curated"] == FIRST
    assert "up" in pd.read_csv(out / "curated" / "calls.csv")["unit_name"].tolist()


def test_a_repertoire_that_is_named_is_assigned_to_as_people_decided(study):
    decide(open_log(study / "out" / "results"), {"op": "merge", "units": [0, 1], "who": "anna"})
    sing(study / "recordings" / "r6.flac", 6)
    write_rows(study)
    text = TEXT.replace("[settings]\nn_clusters = 3\n", "")
    (study / "later.toml").write_text('repertoire = "out/results/repertoire.npz"\n' + text)
    done = run_study(study / "later.toml", study / "later")
    assert done == dict.fromkeys(KEPT, FIRST)
    assert set(pd.read_csv(study / "later" / "results" / "calls.csv")["unit"]) <= {2, 3}


def test_a_run_that_is_ended_goes_on(study, monkeypatch):
    """Ended in the order: the other steps are kept, and so is the order that was there."""
    from usvbook import sequence_runs

    (study / "study.toml").write_text(TEXT + "max_gap_s = 0.1\n")
    before = (study / "out" / "order" / "bouts.csv").read_bytes()
    monkeypatch.setattr(sequence_runs, "write_order_page", end)
    code, said = run_command("study", study / "study.toml", "-o", study / "out")
    assert code == 130 and "the same command goes on where it was" in said
    assert (study / "out" / "order" / "bouts.csv").read_bytes() == before
    monkeypatch.undo()
    assert run_study(study / "study.toml", study / "out") == KEPT | {"order": FIRST}
    assert (study / "out" / "order" / "bouts.csv").read_bytes() != before


BAD = {  # study.toml -> the line that is printed
    "two animals": (TEXT, "group A: 2 animal(s)", "write describe = true below [compare]"),
    "no row": (TEXT, "r5.flac; add them", "write leave_unmatched = true below [compare]"),
    "no folder": (TEXT.replace('"recordings"', '"nothing"'), "nothing", "not"),
    "no toml": ("recordings = [", "is not TOML", "study.toml"),
    "a word": (TEXT + "pause = 3\n", "pause is not known here", "max_gap_s"),
    "a kind": (TEXT + 'max_gap_s = "long"\n', "max_gap_s", "sequences"),
    "overlaps": ('overlaps = "some"\n' + TEXT, "overlaps = 'some' is not known", "mark"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_one_line_before_any_work(name, made, tmp_path):
    place, out = tmp_path / "study", tmp_path / "out"
    shutil.copytree(made, place, ignore=shutil.ignore_patterns("out"))
    text, wanted, remedy = BAD[name]
    (place / "study.toml").write_text(text)
    rows = (place / "animals.csv").read_text().splitlines()
    if name == "two animals":
        rows = [row.replace("m4,A", "m4,B") for row in rows]
    rows = rows[:-1] if name == "no row" else rows
    (place / "animals.csv").write_text("\n".join(rows) + "\n")
    code, said = run_command("study", place / "study.toml", "-o", out)
    last = said.strip().splitlines()[-1]
    assert code == 1 and last.startswith("usvbook: ") and "Traceback" not in said
    assert wanted in last and remedy in last and not out.exists(), last


def test_what_is_not_ours_is_left_alone(made, tmp_path):
    (tmp_path / "mine.txt").write_text("of somebody")
    code, said = run_command("study", made / "study.toml", "-o", tmp_path)
    assert code == 1 and "holds no study; choose another name" in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.browser
def test_pages_fit_a_phone_and_load_nothing(done, browser):
    """No page is wider than a phone, light or dark, and the browser complains of nothing."""
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for name in ("index.html", "comparison/report.html", "order/report.html"):
            browser.get((done / "out" / name).as_uri())
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= 390, f"{name}: {wide}"
            assert not [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
