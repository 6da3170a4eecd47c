"""The log of decisions: what any sequence of them leads to, and that nothing done is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import run_command, usvbook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usvbook.curation import (
    CurationLog,
    CurationWarning,
    Decision,
    History,
    OpenLog,
    append,
    curated_repertoire,
    decide,
    line_of,
    log_from,
    log_text,
    new_log,
    read_decision,
    read_log,
    replay,
    state_of,
)
from usvbook.files import Fault
from usvbook.recordings import Recording
from usvbook.repertoire import Repertoire
from usvbook.segmentation import MultitaperSegmenter
from usvbook.studies import read_results
from usvbook.synthesis import synthesize

SHARED = Path(os.environ.get("USVBOOK_DATA", "nowhere")).parent / "curation"
needs_shared = pytest.mark.skipif(
    not (SHARED / "expected.json").is_file(), reason="the example log is not here"
)
N_UNITS, N_CALLS = 4, 8
FITTED = {f"call {k}": k % N_UNITS for k in range(N_CALLS)}


# --------------------------------------------------------------------------- the example


@pytest.fixture(scope="module")
def expected():
    return json.loads((SHARED / "expected.json").read_text(encoding="utf-8"))


def as_expected(state):
    """A state in the words of the example."""
    rows = state.table.itertuples()
    return {
        "units": state.units,
        "next_id": state.next_id,
        "names": {str(u): name for u, name in state.names.items()},
        "owner": {str(u): owner for u, owner in state.owner.items()},
        "rejected_units": state.rejected,
        "calls": {row.key: {"unit": row.unit, "accepted": row.accepted} for row in rows},
    }


@needs_shared
def test_the_example_after_every_line(expected):
    log = read_log(SHARED / "curation.jsonl")
    assert log.n_units == expected["n_units"] and not log.remark
    for n, state in expected["after_each"].items():
        assert as_expected(replay(log, expected["fitted"], int(n))) == state


@needs_shared
def test_the_example_line_by_line(expected, tmp_path):
    """Written one by one, each line is that of the example, byte for byte."""
    lines = (SHARED / "curation.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / "curation.jsonl"
    path.write_bytes(lines[0])
    for n, line in enumerate(lines[1:], 1):
        append(path, json.loads(line))
        assert path.read_bytes() == b"".join(lines[: n + 1])
        assert (
            as_expected(replay(read_log(path), expected["fitted"]))
            == (expected["after_each"][str(n)])
        )


@needs_shared
def test_what_the_example_refuses(expected, tmp_path):
    whole = (SHARED / "curation.jsonl").read_bytes()
    path = tmp_path / "curation.jsonl"
    for case in expected["refused"]:
        path.write_bytes(whole)
        with pytest.raises(Fault) as told:
            append(path, case["line"])
        assert str(told.value) == case["error"] and path.read_bytes() == whole
        text = whole + json.dumps(case["line"]).encode() + b"\n"
        with pytest.raises(Fault) as told:
            replay(log_from(text, path), expected["fitted"])
        assert str(told.value) == case["error"]


@needs_shared
def test_the_example_assigned(expected):
    case = expected["assign"]
    repertoire = Repertoire(4)
    repertoire.centroids_ = np.array(case["prototypes"], float)
    repertoire.labels_ = np.array(list(expected["fitted"].values()))
    repertoire.similarity_, repertoire.is_inlier_ = np.ones(6), np.ones(6, bool)
    repertoire.n_features_in_, repertoire.band_hz_ = 3, (0.0, 0.0)
    X = np.array(case["prototypes"], float)[repertoire.labels_]
    state = replay(read_log(SHARED / "curation.jsonl"), expected["fitted"], case["after"])
    calls = np.array(case["calls"], float)
    assert repertoire.predict(calls).tolist() == case["nearest_prototype"]
    for vectors in (X, None):
        made = curated_repertoire(repertoire, state, vectors)
        units = made.predict(calls)
        assert units.tolist() == case["unit"]
        assert made.decided_.is_accepted(units).tolist() == case["accepted"]


# ------------------------------------------------------------------------------ properties


def plain_state(decisions, n):
    """Units of calls and rejected ones after n lines, by the plainest program there is.

    A decision that was undone is passed over; the others are done in their order.
    """
    undone = set()
    for one in reversed(decisions[:n]):  # the last word first: an undone undo undoes nothing
        if one.op == "undo" and one.seq not in undone:
            undone.add(one.undoes)
    unit, there, names = dict(FITTED), set(range(N_UNITS)), {}
    noise, hidden = set(), set()
    for one in decisions[:n]:
        if one.op == "undo" or one.seq in undone:
            continue
        if one.op == "merge":
            unit = {k: one.new[0] if u in one.units else u for k, u in unit.items()}
            if set(one.units) <= noise:
                noise.add(one.new[0])
            there = there - {*one.units} | {*one.new}
        elif one.op == "split":
            unit |= {k: u for u, part in zip(one.new, one.parts, strict=True) for k in part}
            if one.unit in noise:
                noise |= {*one.new}
            there = there - {one.unit} | {*one.new}
        elif one.op == "rename":
            names[one.unit] = one.name
        elif one.op in ("reject", "accept"):
            (noise.add if one.op == "reject" else noise.discard)(one.unit)
        elif one.op == "reassign":
            unit |= dict.fromkeys(one.calls, one.unit)
        else:
            (hidden.update if one.op == "reject_calls" else hidden.difference_update)(one.calls)
    accepted = {k: u not in noise and k not in hidden for k, u in unit.items()}
    names = {u: name for u, name in names.items() if u in there and name}
    return there, names, unit, accepted, noise & there


def draw_decision(data, history):
    """A decision that could be made now, or not."""
    seq, units = len(history.decisions) + 1, history.units.there()
    op = data.draw(st.sampled_from(["merge", "split", "rename", "reject", "accept", "reassign",
                                    "reject_calls", "accept_calls", "undo", "undo"]))  # fmt: skip
    unit = data.draw(st.sampled_from(units))
    calls = tuple(data.draw(st.lists(st.sampled_from([*FITTED]), min_size=1, max_size=3)))
    free = history.units.next_id
    if op == "merge":
        other = data.draw(st.sampled_from(units))
        return Decision(op, seq, units=(unit, other), new=(free,))
    if op == "split":
        table = state_of(history).table
        own = table["key"][table["unit"] == unit].tolist()
        cut = data.draw(st.integers(0, len(own)))
        parts = tuple(part for part in (tuple(own[:cut]), tuple(own[cut:])) if part)
        return Decision(op, seq, unit=unit, parts=parts, new=(free, free + 1)[: len(parts)])
    if op == "undo":
        return Decision(op, seq, undoes=data.draw(st.integers(1, seq)))
    if op == "rename":
        return Decision(op, seq, unit=unit, name=data.draw(st.sampled_from(["up", "down", ""])))
    if op in ("reject", "accept"):
        return Decision(op, seq, unit=unit)
    return Decision(op, seq, calls=calls, unit=unit if op == "reassign" else None)


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.data())
def test_any_log(data):
    """Replay is what was seen; a plain program that starts anew each time says the same."""
    history, seen, used = History(N_UNITS, FITTED), [], set(range(N_UNITS))
    for _ in range(data.draw(st.integers(1, 25))):
        one = draw_decision(data, history)
        before = state_of(history)
        try:
            history.add(one)
        except Fault as error:
            assert "\n" not in str(error)
            after = state_of(history)  # what is refused leaves no trace
            assert after.table.equals(before.table) and after.units == before.units
            continue
        if one.op != "undo":
            assert not used & {*one.new}  # never reused
        used |= {*one.new}
        seen.append(state_of(history))
    log = CurationLog("9a3b", N_UNITS, tuple(history.decisions))
    assert log_from(log_text(log).encode(), "log").decisions == log.decisions
    for n, state in enumerate(seen, 1):
        again = replay(log, FITTED, n)
        there, names, unit, accepted, noise = plain_state(history.decisions, n)
        assert again.table.equals(state.table) and again.names == state.names == names
        assert {*again.units} == {*state.units} == there and {*again.rejected} == noise
        assert dict(zip(again.table["key"], again.table["unit"], strict=True)) == unit
        assert dict(zip(again.table["key"], again.table["accepted"], strict=True)) == accepted
        assert again.table["unit"].isin(again.units).all() and again.next_id == state.next_id
        assert again.next_id == 1 + max(
            [N_UNITS - 1, *(u for one in history.decisions[:n] for u in one.new)]
        )


def test_undo_of_undo_of_undo():
    """Each undo is of the one before: the name is there and gone by turns."""
    history = History(N_UNITS, FITTED)
    history.add(Decision("rename", 1, unit=0, name="up"))
    for seq in range(2, 9):
        history.add(Decision("undo", seq, undoes=seq - 1))
        assert state_of(history).names == ({0: "up"} if seq % 2 else {})


@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.data())
def test_undoing_all_of_it_leads_back(data):
    """From the last to the first, everything can be undone; only used numbers are left."""
    history = History(N_UNITS, FITTED)
    start = state_of(history)
    for _ in range(data.draw(st.integers(1, 12))):
        one = draw_decision(data, history)
        try:
            if one.op != "undo":
                history.add(one)
        except Fault:
            continue
    n = len(history.decisions)
    for seq in range(n, 0, -1):
        history.add(Decision("undo", len(history.decisions) + 1, undoes=seq))
    end = state_of(history)
    assert end.table.equals(start.table) and end.units == start.units and end.names == {}
    assert end.owner == start.owner and not end.rejected
    for seq in range(2 * n, n, -1):  # and all of it back again
        history.add(Decision("undo", len(history.decisions) + 1, undoes=seq))
    assert state_of(history).table.equals(replay(
        CurationLog("", N_UNITS, tuple(history.decisions[:n])), FITTED).table)  # fmt: skip


@pytest.fixture
def log_file(tmp_path):
    """A log that begins, beside the table of its calls."""
    path = tmp_path / "curation.jsonl"
    new_log(path, "9a3b", N_UNITS)
    table = pd.DataFrame({"call_key": [*FITTED], "unit_fitted": [*FITTED.values()]})
    table.to_csv(tmp_path / "calls.csv", index=False)
    return path


def test_torn_at_any_byte(log_file):
    for name in ("up", "ü", "下"):
        append(log_file, Decision("rename", unit=0, name=name))
    whole = log_file.read_bytes()
    ends = [k for k, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[0] + 1, len(whole) + 1):
        n = sum(end < cut for end in ends) - 1 + (cut in ends)  # whole but for the end of the line
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(log_from(whole[:cut], log_file).decisions) == n
        told = any(w.category is CurationWarning for w in caught)
        assert told == (whole[cut - 1 : cut] != b"\n" and cut not in ends)


def test_calls_of_the_folder_are_known_to_its_log(log_file):
    with pytest.raises(Fault, match="line 2: call x is not among the calls"):
        append(log_file, Decision("reject_calls", calls=("x",)))
    append(log_file, Decision("reassign", calls=("call 5",), unit=0))
    with pytest.raises(Fault, match="line 3: call call 4 of unit 0 stands in no part"):
        append(log_file, {"op": "split", "unit": 0, "parts": [["call 0"], ["call 5"]]})
    done = append(log_file, {"op": "split", "unit": 0, "parts": [["call 0", "call 4"], ["call 5"]]})
    assert done.new == (4, 5)


WRITER = """
import sys
from pathlib import Path
from usvbook.curation import Decision, OpenLog, decide
log = OpenLog(Path(sys.argv[1]))
for k in range(int(sys.argv[3])):
    one = decide(log, Decision("rename", unit=1, name=f"{sys.argv[2]} {k}", who=sys.argv[2]))
    print(one.seq, one.name, flush=True)
"""


def start_writer(path, who, n):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), who, str(n)], stdout=subprocess.PIPE, text=True
    )


def test_two_writers(log_file):
    """Both write all they have to say, in turns, and each line was read by the other."""
    writers = [start_writer(log_file, who, 40) for who in ("anna", "ben")]
    said = [writer.communicate(timeout=120)[0].splitlines() for writer in writers]
    log = read_log(log_file)
    assert [one.seq for one in log.decisions] == [*range(1, 81)] and not log.remark
    for who, lines in zip(("anna", "ben"), said, strict=True):
        mine = [f"{one.seq} {one.name}" for one in log.decisions if one.who == who]
        assert mine == lines and len(lines) == 40


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not killed in this way there")
@pytest.mark.parametrize("wait_s", [0.0, 0.05, 0.2])
def test_killed_while_deciding(log_file, wait_s):
    """What was said to be done is in the log, in its place; at most one more is."""
    writer = start_writer(log_file, "anna", 100_000)
    shown = [writer.stdout.readline()]
    time.sleep(wait_s)
    writer.send_signal(signal.SIGKILL)
    shown += writer.stdout.read().splitlines()
    writer.wait(60)
    with warnings.catch_warnings(action="ignore"):
        log = read_log(log_file)
    stored = [f"{one.seq} {one.name}" for one in log.decisions]
    shown = [line.strip() for line in shown]
    shown = shown if shown[-1] in stored else shown[:-1]  # the last line may itself be cut
    assert stored[: len(shown)] == shown and len(stored) - len(shown) <= 1
    with warnings.catch_warnings(action="ignore"):
        assert append(log_file, Decision("reject", unit=1)).seq == len(stored) + 1  # and on it goes


def test_another_repertoire(log_file):
    (log_file.parent / "repertoire.npz").write_bytes(b"another one")
    with pytest.raises(Fault, match="is the log of another repertoire"):
        decide(OpenLog(log_file), Decision("reject", unit=1))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"op": "merge", "units": [1]}, "two different units"),
        ({"op": "merge", "units": [1, 1]}, "two different units"),
        ({"op": "merge", "units": [0, 1], "new": [4, 5]}, "2 new numbers for 1"),
        ({"op": "reject", "unit": -1}, "not a unit"),
        ({"op": "reject"}, "unit of reject is None"),
        ({"op": "rename", "unit": 1, "name": 3}, "not a text"),
        ({"op": "reassign", "unit": 1, "calls": []}, "list of call keys"),
        ({"op": "undo", "undoes": 5}, "there is no such entry"),
        ({"op": "add_call", "call": "call 1", "unit": 1, "box": [0, 1, 2, 3]}, "there already"),
        ({"op": "correct_call", "call": "x", "box": [0, 1, 2, 3]}, "not among the calls"),
        ({"op": "reject", "unit": 1, "who": 7}, "who is not a text"),
    ],
)
def test_wrong_lines(log_file, line, words):
    before = log_file.read_bytes()
    with pytest.raises(Fault, match=words):
        append(log_file, line)
    assert log_file.read_bytes() == before


def test_drawn_calls():
    history = History(N_UNITS, FITTED)
    box = (1.0, 1.5, 50e3, 60e3)
    history.add(Decision("add_call", 1, call="new", unit=2, box=box))
    history.add(Decision("correct_call", 2, call="call 1", box=box))
    history.add(Decision("reassign", 3, calls=("new",), unit=3))
    state = state_of(history)
    assert state.added == ["new"] and state.boxes == {"new": box, "call 1": box}
    assert state.table.iloc[-1].tolist() == ["new", 3, True] and len(state.table) == N_CALLS + 1
    with pytest.raises(Fault, match="entry 1 cannot be undone: 3 rests on call new"):
        history.add(Decision("undo", 4, undoes=1))
    history.add(Decision("undo", 4, undoes=3))
    history.add(Decision("undo", 5, undoes=1))
    assert len(state_of(history).table) == N_CALLS and "new" not in state_of(history).boxes
    assert line_of(read_decision(json.loads(line_of(history.decisions[0])))) == (
        line_of(history.decisions[0])
    )


# ------------------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def decided(built, tmp_path_factory):
    """A copy of the results of a study, and what was decided about it by commands."""
    results = tmp_path_factory.mktemp("curated") / "results"
    shutil.copytree(built, results)
    for words in (
        ("merge", 0, 1, "--name", "up", "--who", "anna", "--why", "same shape"),
        ("reject", 3, "--who", "ben"),
        ("split", 2, "--k", 2),
        ("rename", 5, "short ones"),
    ):
        usvbook("curate", results, *words)
    table = pd.read_csv(results / "calls.csv")
    first, last = table.iloc[0], table.iloc[-1]
    box = (first["onset_s"] + 0.002, first["offset_s"], 50e3, 80e3)
    append(results / "curation.jsonl", Decision("correct_call", call=first["call_key"], box=box))
    box = (last["offset_s"] + 0.01, last["offset_s"] + 0.05, 60e3, 70e3)
    key = f"{last['call_key'].rpartition(':')[0]}:{round(box[0] * 1e6)}"
    append(results / "curation.jsonl", Decision("add_call", call=key, box=box, unit=5))
    return results


def test_decisions_by_command(decided):
    said = usvbook("curate", decided, "log")
    assert "anna: merge 0, 1 into 4 (same shape)" in said and "ben: reject 3" in said
    said = usvbook("curate", decided, "check")
    assert "7 decisions, all in order; 4 units" in said and "4 up:" in said and "rejected" in said
    before = (decided / "curation.jsonl").read_bytes()
    for words, line in (
        (("merge", 0, 4), "line 9: unit 0 is no more (merged into 4 at 1)"),
        (("undo", 1), "line 9: entry 1 cannot be undone: 2 rests on unit 4; undo it first"),
        (("reject", "up"), "'up' is not a number"),
        (("delete", 3), "'delete' is not known; it is one of log, check, merge"),
        (("apply",), "apply needs a folder to write: -o NEW"),
        (("split", 5, "--k", 1), "a split needs two parts or more"),
    ):
        code, said = run_command("curate", decided, *words)
        assert code == 1 and line in said and said.count("\n") == 1
    assert (decided / "curation.jsonl").read_bytes() == before


@pytest.fixture(scope="module")
def followed(decided, study, tmp_path_factory):
    """What follows decisions: `curated`, `new` calls, the `same` by the curated repertoire."""
    folder, late = tmp_path_factory.mktemp("followed"), study[0] / "late"
    usvbook("curate", decided, "apply", "-o", folder / "curated")
    usvbook("assign", decided / "repertoire.npz", late, "-o", folder / "new")
    usvbook("assign", folder / "curated/repertoire.npz", late, "-o", folder / "same")
    return folder


def test_decisions_go_everywhere(followed, decided):
    """The whole way: noise rejected, units merged, named and split, calls corrected and drawn."""
    old = pd.read_csv(decided / "calls.csv")
    made, new, same = (pd.read_csv(followed / n / "calls.csv") for n in ("curated", "new", "same"))
    log = read_log(decided / "curation.jsonl")
    corrected, drawn = (one.call for one in log.decisions[-2:])
    by_key = made.set_index("call_key")
    assert len(made) == len(old) + 1 and {*old["accepted"]} == {True}
    assert (by_key.loc[old["call_key"], "unit_fitted"].to_numpy() == old["unit"]).all()
    assert by_key.loc[drawn, ["unit", "limits", "accepted"]].tolist() == [5, "drawn", True]
    assert by_key.loc[corrected, ["low_freq_hz", "limits"]].tolist() == [50e3, "corrected"]
    assert by_key["limits"].value_counts()["found"] == len(old) - 1
    assert {*made["unit"]} == {3, 4, 5, 6} and (made["accepted"] == (made["unit"] != 3)).all()
    assert {*made["unit_name"].dropna()} == {"up", "short ones"}
    assert (new["unit"] == same["unit"]).all() and {*new["unit"]} <= {3, 4, 5, 6}
    assert (new["accepted"] == (new["unit"] != 3)).all()
    assert (new["unit"][new["unit_fitted"].isin([0, 1])] == 4).all()
    for name in ("curated", "new"):
        units = pd.read_csv(followed / name / "units.csv").set_index("unit")
        assert units.loc[4, "name"] == "up"
        assert 3 not in units.index or units.loc[3, "n_accepted"] == 0
        rows = pd.read_csv(followed / name / "recordings.csv")
        calls = pd.read_csv(followed / name / "calls.csv")
        assert rows["n_calls"].sum() == calls["accepted"].sum()
        assert rows["n_rejected"].sum() == (~calls["accepted"]).sum()
        assert units["n_calls"].sum() == len(calls)
        page = (followed / name / "report.html").read_text(encoding="utf-8")
        assert "short ones" in page and ("Rejected" in page) == (3 in units.index)
    code, said = run_command("curate", followed / "curated", "reject", 4)
    assert code == 1 and "decisions are applied in it already" in said
    assert "unit 4 is most like" in usvbook("curate", "carry", decided, decided)


# -------------------------------------------------------------------- drawn and corrected calls


@pytest.fixture
def alone(tmp_path, no_figures, monkeypatch):
    """A recording with its results in a folder that can be moved; no figures."""
    monkeypatch.setattr("usvbook.curated_results.shared_figures", lambda *given: {})
    folder = tmp_path / "here"
    folder.mkdir()
    soundfile.write(folder / "song.flac", synthesize(6, 30, snr_db=20, random_state=5)[0], 250_000)
    usvbook("build", folder / "song.flac", "-o", folder / "results", "--n-clusters", 3,
            "--n-seeds", 0, "--overlaps", "none")  # fmt: skip
    return folder


def key_at(results, onset_s):
    """The key of a call of the one recording of a folder."""
    first = pd.read_csv(results / "calls.csv")["call_key"].iloc[0]
    return f"{first.rpartition(':')[0]}:{round(onset_s * 1e6)}"


def read_applied(out):
    return pd.read_csv(out / "calls.csv").set_index("call_key")


def test_drawn_and_corrected_calls_are_measured(alone):
    """As the segmenter measures them, at both ends of the recording; with undo; and once more."""
    results, log = alone / "results", alone / "results/curation.jsonl"
    old = read_applied(results)
    end, first = old["offset_s"].iloc[-1] + 0.01, old.index[0]
    for key, box in (
        (key_at(results, end), (end, 6.0, 60e3, 70e3)),  # up to the end
        (key_at(results, 0.0), (0.0, 0.03, 40e3, 50e3)),
        (key_at(results, end + 0.005), (end + 0.005, end + 0.02, 60e3, 70e3)),  # undone
    ):
        append(log, Decision("add_call", call=key, box=box, unit=1))
    append(log, Decision("undo", undoes=3))
    onset, offset = old.loc[first, ["onset_s", "offset_s"]] + [-0.003, 0.003]
    append(log, Decision("correct_call", call=first, box=(onset, offset, 45e3, 95e3)))
    usvbook("curate", results, "apply", "-o", alone / "new")
    made = read_applied(alone / "new")
    boxes = read_log(log).decisions
    keys = [boxes[0].call, boxes[1].call, first]
    times = np.array([boxes[0].box[:2], boxes[1].box[:2], (onset, offset)])
    calls = MultitaperSegmenter().measure(Recording(alone / "song.flac"), *np.sort(times, axis=0).T)
    for name in ("peak_freq_hz", "slope_hz_per_s", "mean_power_db", "tonality"):
        found = calls.table[name].to_numpy()[np.argsort(np.argsort(times[:, 0]))]
        assert np.allclose(made.loc[keys, name], found, rtol=1e-3, atol=1), name
    assert made.loc[keys, "limits"].tolist() == ["drawn", "drawn", "corrected"]
    assert made.loc[keys[:2], "at_edge"].all() and np.isclose(
        made.at[first, "duration_s"], offset - onset
    )
    assert (
        made["call_id"].tolist() == [*range(len(made))] and made["onset_s"].is_monotonic_increasing
    )
    assert len(made) == len(old) + 2 and (made.loc[old.index, "unit"] == old["unit"]).all()
    others = [key for key in old.index if key != first]
    rest = [name for name in old if name not in ("call_id", "interval_s")]
    pd.testing.assert_frame_equal(made.loc[others, rest], old.loc[others, rest])
    units = pd.read_csv(alone / "new/units.csv").set_index("unit")["n_calls"]
    assert units[1] == (old["unit"] == 1).sum() + 2
    assert pd.read_csv(alone / "new/recordings.csv")["n_calls"].tolist() == [len(made)]
    run = json.loads((alone / "new/run.json").read_text())
    assert run["metrics"]["n_drawn"] == 2 and run["metrics"]["n_corrected"] == 1
    parts = [[boxes[0].call, boxes[1].call], old.index[old["unit"] == 1].tolist()]
    append(log, Decision("split", unit=1, parts=tuple(map(tuple, parts))))  # drawn calls alone
    usvbook("curate", results, "split", 2, "--k", 2)
    usvbook("curate", results, "apply", "-o", alone / "new", "--force")
    usvbook("curate", results, "apply", "-o", alone / "again")
    assert (read_applied(alone / "new").loc[parts[0], "unit"] == 3).all()
    for name in ("calls.csv", "units.csv", "recordings.csv", "repertoire.npz"):
        assert (alone / "new" / name).read_bytes() == (alone / "again" / name).read_bytes(), name
    repertoire = Repertoire.load(alone / "again/repertoire.npz")
    assert 3 in repertoire.decided_.owners and repertoire.centroids_[3].any()


def test_drawn_calls_and_their_recording(alone, tmp_path):
    """A folder that was moved; a recording that is gone, or has changed: nothing is written."""
    old = read_applied(alone / "results")
    end = old["offset_s"].iloc[-1] + 0.01
    one = Decision(
        "add_call", call=key_at(alone / "results", end), unit=0, box=(end, end + 0.05, 6e4, 7e4)
    )
    append(alone / "results/curation.jsonl", one)
    usvbook("curate", alone / "results", "apply", "-o", tmp_path / "before")
    there = tmp_path / "there"
    alone.rename(there)
    usvbook("curate", there / "results", "apply", "-o", tmp_path / "after")
    assert (tmp_path / "before/calls.csv").read_bytes() == (
        tmp_path / "after/calls.csv"
    ).read_bytes()
    song = (there / "song.flac").read_bytes()
    for change, words in (
        (
            lambda: (there / "song.flac").write_bytes(song[:-1] + b"x"),
            "has changed, and calls were",
        ),
        ((there / "song.flac").unlink, "is no longer there as it was, and calls were drawn"),
    ):
        change()
        code, said = run_command("curate", there / "results", "apply", "-o", tmp_path / "none")
        assert code == 1 and words in said and "song.flac" in said and "undo" in said
        assert said.strip().count("\n") <= 1 and not (tmp_path / "none").exists()
    usvbook("curate", there / "results", "undo", 1)
    usvbook("curate", there / "results", "apply", "-o", tmp_path / "none")  # calls are kept
    assert len(read_applied(tmp_path / "none")) == len(old)
    append(
        there / "results/curation.jsonl", Decision("add_call", call="0123:0:5", unit=0, box=one.box)
    )
    code, said = run_command("curate", there / "results", "apply", "-o", tmp_path / "other")
    assert code == 1 and "call 0123:0:5: is in no recording of" in said


def test_decided_results_are_not_replaced(alone):
    """A second build, or anything else that writes there, leaves results and decisions alone."""
    results = alone / "results"
    code, said = run_command("curate", results, "reject", 9)
    assert code == 1 and not (results / "curation.jsonl").exists()  # nothing was decided
    usvbook("curate", results, "reject", 0)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    table = pd.DataFrame({"audio_path": ["song.flac"], "animal": ["a"], "group": ["x"]})
    table.to_csv(alone / "animals.csv", index=False)
    for words in (
        ("build", alone / "song.flac", "-o", results),
        ("assign", results / "repertoire.npz", alone / "song.flac", "-o", results),
        ("curate", results, "apply", "-o", results),
        ("compare", results, "-a", alone / "animals.csv", "-o", results),
        ("sequences", results, "-o", results),
        ("separate", alone / "song.flac", "-o", results),
    ):
        code, said = run_command(*words, "--force")
        assert code == 1 and "people decided about these results" in said, words
        assert "usvbook curate carry" in said
    assert before == {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


def test_decisions_in_comparisons_and_order(followed, decided, study, tmp_path):
    """A folder that was decided about is compared as decided, with names, though not applied."""
    animals, out, order = tmp_path / "animals.csv", tmp_path / "compared", tmp_path / "order"
    lines = [f"{study[0] / 'early' / name}.flac,{name},{name}" for name in ("m0", "m1")]
    animals.write_text("\n".join(["audio_path,animal,group", *lines]), encoding="utf-8")
    made = pd.read_csv(followed / "curated/calls.csv").query("accepted")["unit"].value_counts()
    usvbook("compare", decided, "-a", animals, "-o", out, "--describe")
    usage = pd.read_csv(out / "usage.csv").filter(regex=r"unit_\d").sum()
    assert {name: n for name, n in usage.items() if n} == {f"unit_{u}": n for u, n in made.items()}
    notes = json.loads((out / "run.json").read_text(encoding="utf-8"))["notes"]
    assert any("7 decision(s) of people are followed" in note for note in notes)
    usvbook("sequences", decided, "-o", order)
    found = pd.read_csv(order / "bouts.csv").query("bout >= 0")["unit"].value_counts()
    assert 3 not in made.index and found.to_dict() == made.to_dict()
    for folder in (out, order):
        assert "short ones" in (folder / "report.html").read_text(encoding="utf-8")
    assert len(read_results([decided, followed / "new"]).calls) > len(made)
    later = tmp_path / "later"
    shutil.copytree(decided, later)
    usvbook("curate", later, "reject", 6)
    with pytest.raises(Fault, match="they follow 8 and 7 decisions of people"):
        read_results([later, followed / "new"])


def test_marks_of_another_program_as_decisions(built, tmp_path):
    """Calls rejected there are offered to be rejected, labels as names; taken if asked for."""
    results = tmp_path / "results"
    shutil.copytree(built, results)
    calls = pd.read_csv(results / "calls.csv")
    own = calls[calls["audio_path"].str.contains("m0")]
    marks = own[["audio_path", "onset_s", "offset_s"]].assign(
        label="hum", accepted=np.arange(len(own)) > 0
    )
    marks.to_csv(tmp_path / "m0.csv", index=False)
    file = (tmp_path / "m0.csv",)
    said = usvbook("curate", results, "marks", *file)
    assert (
        f"{len(own)} of {len(own)} marks are at calls" in said and "offered: reject 1 call" in said
    )
    assert "--take" in said and not (results / "curation.jsonl").exists()
    usvbook("curate", results, "marks", *file, "--take", "--who", "anna")
    state = usvbook("curate", results, "check")
    share = own["unit"].value_counts() / calls["unit"].value_counts()
    named = [unit for unit, part in share.items() if part > 0.55]
    assert named and all(f"{unit} hum:" in state for unit in named)
    rejected = read_log(results / "curation.jsonl").decisions[0]
    assert (rejected.op, rejected.calls, rejected.who) == (
        "reject_calls", (own["call_key"].iloc[0],), "anna",
    )  # fmt: skip
    code, said = run_command("curate", results, "marks")
    assert code == 1 and "marks takes FILE ..." in said
    usvbook("curate", results, "apply", "-o", tmp_path / "applied")
    usvbook("convert", tmp_path / "applied", "--to", "raven", "-o", tmp_path / "then")
    usvbook("convert", results, "--to", "raven", "-o", tmp_path / "raven")
    written = {path.name: path.read_bytes() for path in (tmp_path / "raven").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "then").iterdir()}
    assert any(b"hum" in text for text in written.values())
