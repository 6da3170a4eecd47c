"""The order of calls: nothing is found where there is none, and what is there is found."""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import run_command
from scipy import stats

from usvbook.files import Fault
from usvbook.rates import event_rate
from usvbook.run_record import Watch, write_run
from usvbook.sequence_studies import Questions, order_of_results
from usvbook.sequences import (
    ENTROPIES,
    compare_matrices,
    compare_numbers,
    draw_sequences,
    in_order,
    information,
    information_by,
    lasting_usage,
    mutual_information,
    sequence_numbers,
    transitions,
    transitions_of,
)
from usvbook.studies import Design, Results


def cycle(order, K=5):
    """A share of the calls follows a cycle of K units; the others are drawn at random."""
    return (1 - order) / K + order * np.roll(np.eye(K), 1, axis=1)


def test_200_runs_without_order():
    """p is uniform, 5 % lie below .05, and knowing the call before loses bits."""
    found = [
        information(*draw_sequences(cycle(0), 200, random_state=k), n_shuffles=99, random_state=k)
        for k in range(200)
    ]
    p, gain = (np.array([one[name] for one in found]) for name in ("p", "gain"))
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 2 <= (p <= 0.05).sum() <= stats.binom.ppf(0.999, 200, 0.05)
    assert gain.mean() < 0 and (gain < 0).mean() > 0.9
    assert abs(np.mean([one["mi_corrected"] for one in found])) < 0.01


def test_power_grows_with_order():
    """From an order of .1 to .9: more is found, more is gained, in 200 calls each."""
    power, gain = [], []
    for order in (0.1, 0.3, 0.5, 0.7, 0.9):
        runs = [
            information(*draw_sequences(cycle(order), 200, random_state=k), 99) for k in range(15)
        ]
        power.append(np.mean([one["p"] <= 0.05 for one in runs]))
        gain.append(np.mean([one["gain"] for one in runs]))
    assert power[0] < 1 and min(power[1:]) > 0.9
    assert np.all(np.diff(gain) > 0.03)


@pytest.mark.parametrize("K, n", [(10, 300), (40, 300)])
def test_estimators_without_order(K, n):
    """Counted information is far too large; less its mean over shuffles it is right."""
    P = np.tile(np.random.default_rng(3).dirichlet(np.full(K, 2.0)), (K, 1))
    rows = []
    for k in range(10):
        labels, bout = draw_sequences(P, n, random_state=k)
        N, known = transitions(labels, bout, K), information(labels, bout, 30, n_units=K)
        row = {how: information_by(N, how) for how in ENTROPIES}
        rows.append(row | {"corrected": known["mi_corrected"], "gain": known["gain"]})
    mean = pd.DataFrame(rows).mean()
    assert mean["plug_in"] > mean["miller_madow"] > mean["chao_shen"] and mean["plug_in"] > 0.15
    assert abs(mean["corrected"]) < 0.05 and mean["gain"] < 0


def test_corrected_information_reaches_the_truth():
    P = np.random.default_rng(1).dirichlet(np.full(10, 1.2), size=10)
    truth = float(mutual_information(lasting_usage(P)[:, None] * P))
    errors = []
    for n in (300, 1000, 5000):
        found = [information(*draw_sequences(P, n, random_state=k), 20) for k in range(5)]
        errors.append(np.mean([one["mi_corrected"] for one in found]) - truth)
    assert all(error < 0.02 for error in errors) and abs(errors[-1]) < 0.03
    assert abs(errors[0]) > abs(errors[-1])


def test_groups_without_difference():
    """40 studies of 5 animals a group with order, none of it different: few are found."""
    group = pd.Series(list("AAAAABBBBB"), [f"m{k}" for k in range(10)])
    rejected = 0
    for study in range(40):
        rows = []
        for k, name in enumerate(group.index):
            rng = np.random.default_rng([study, k])
            unit, bout = draw_sequences(cycle(rng.uniform(0.1, 0.5)), 100, random_state=rng)
            onset = np.arange(100) * 0.1
            own = {"unit": unit, "bout": bout, "onset_s": onset, "offset_s": onset + 0.05}
            rows.append(pd.DataFrame(own | {"animal": name}))
        calls = pd.concat(rows, ignore_index=True)
        numbers = sequence_numbers(calls, calls["animal"], 5, n_shuffles=19)
        rejected += (compare_numbers(numbers, group)["p_family"] <= 0.05).any()
    assert rejected <= stats.binom.ppf(0.999, 40, 0.05)


def test_same_bytes_again():
    labels, bout = draw_sequences(cycle(0.2), 500, random_state=4)
    assert information(labels, bout) == information(labels, bout)
    assert information(labels, bout) != information(labels, bout, random_state=1)


def calls_and_events(extra, seed, n_animals=6):
    """Ten minutes an animal, twenty events, calls in bouts; a share of events has a call."""
    rng, calls, events = np.random.default_rng(seed), [], []
    for k in range(n_animals):
        event_s, begins = np.sort(rng.uniform(5, 595, 20)), rng.uniform(0, 595, 60)
        more = event_s[rng.random(20) < extra] + 0.3
        onset = np.concatenate([begins, begins + 0.1, begins + 0.2, more])
        calls.append(pd.DataFrame({"audio_path": f"m{k}", "channel": "0", "onset_s": onset}))
        events.append(pd.DataFrame({"audio_path": f"m{k}", "onset_s": event_s}))
    length = pd.Series(600.0, [f"m{k}" for k in range(n_animals)])
    return pd.concat(calls), pd.concat(events), length


def test_events_without_and_with_calls():
    """40 studies without: the smallest family-wise p is below .05 in few of them; with: always."""
    smallest = [
        event_rate(*calls_and_events(0, k), bin_s=0.5, n_shifts=59, random_state=k)[
            "p_family"
        ].min()
        for k in range(40)
    ]
    assert np.sum(np.array(smallest) <= 0.05) <= stats.binom.ppf(0.999, 40, 0.05)
    for k in range(5):
        table = event_rate(*calls_and_events(0.8, 100 + k), bin_s=0.5, n_shifts=59)
        assert table["p_family"].min() == 1 / 60 and table["p_family"].idxmin() == 4  # 0 to 0.5 s


def test_calls_in_any_order_and_rejected_ones():
    calls, events, length = calls_and_events(0.5, 1)
    table = event_rate(calls, events, length, n_shifts=9)
    mixed = calls.sample(frac=1, random_state=0)
    assert event_rate(mixed, events, length, n_shifts=9).equals(table)
    rejected = pd.concat([calls.assign(accepted=True), calls.assign(accepted=False)])
    assert event_rate(rejected, events, length, n_shifts=9).equals(table)


FOXP2 = Path(os.environ.get("USVBOOK_DATA", ""), "transitions", "bmrmm_foxp2.csv")


@pytest.mark.skipif(not FOXP2.is_file(), reason="needs USVBOOK_DATA")
def test_a_table_of_17391_transitions():
    """Six animals, three a genotype: compared in seconds, and no p below what they can give."""
    table, rows = pd.read_csv(FOXP2), []
    for animal, own in table.groupby("Id"):
        onset = np.cumsum(np.exp(own["Transformed_ISI"]) - 1)
        unit = own["Cur_State"].to_numpy() - 1
        one = pd.DataFrame({"audio_path": f"m{animal:g}", "channel": "0", "unit": unit})
        rows.append(one.assign(onset_s=onset.to_numpy(), offset_s=onset.to_numpy()))
    calls = in_order(pd.concat(rows))
    began = time.perf_counter()
    numbers = sequence_numbers(calls, calls["audio_path"], 4, n_shuffles=99)
    names = table.groupby("Id")["Genotype"].first().astype(str)
    group = names.set_axis([f"m{animal:g}" for animal in names.index])
    found = compare_matrices(transitions_of(calls, calls["audio_path"], 4), group)
    compared = compare_numbers(numbers, group)
    assert time.perf_counter() - began < 60
    assert len(calls) == 17_391 and numbers["enough"].all()
    assert found["least_p"] == 0.1 <= min(found["p"], compared["p"].min())


def test_bad_input(tmp_path):
    """Unsorted calls, one call, one unit, overlapping calls, channels: all are told or counted."""
    one = pd.DataFrame({"audio_path": ["a"], "channel": ["0"], "onset_s": [1.0], "offset_s": [1.1]})
    files = pd.DataFrame({"audio_path": ["a"], "duration_s": [100.0]})

    def ask(calls):
        return order_of_results(
            Results(calls, files, {}, []), None, Questions(n_shuffles=3), Design()
        )

    single = ask(one.assign(unit=0))
    assert single.numbers["n_transitions"].sum() == 0 and np.isnan(single.numbers["gain"]).all()
    many = pd.concat([one.assign(onset_s=k / 5, offset_s=k / 5 + 0.3, unit=0) for k in range(20)])
    alike = ask(many)  # one unit, overlapping
    assert alike.numbers["n_bouts"].tolist() == [1] and alike.numbers["self_share"].tolist() == [1]
    mixed = ask(many.sample(frac=1, random_state=0))
    assert mixed.numbers.equals(alike.numbers)
    channels = ask(many.assign(channel=["0", "1"] * 10))
    assert channels.pooled.sum() == 18 and channels.calls["bout"].nunique() == 2
    with pytest.raises(Fault, match="call 3 runs from nan"):
        bad = many.reset_index(drop=True)
        ask(bad.assign(onset_s=bad["onset_s"].where(bad.index != 3)))
    with pytest.raises(Fault, match="but the recording has 2"):
        short = Results(many, files.assign(duration_s=2.0), {}, [])
        order_of_results(short, None, Questions(n_shuffles=3), Design())
    with pytest.raises(Fault, match="there are no calls"):
        ask(many[:0])


N = 12
CALLS = pd.DataFrame({"audio_path": "r.wav", "channel": 0, "unit": np.arange(N) % 3})
CALLS = CALLS.assign(onset_s=np.arange(N) / 5, offset_s=np.arange(N) / 5 + 0.1)
ODD_CALLS = {  # what is wrong -> the calls, the last line that is printed
    "NaN": (CALLS.assign(onset_s=CALLS["onset_s"].where(CALLS.index != 5)), "call 5 runs from nan"),
    "backwards": (CALLS.assign(offset_s=-1.0), "call 0 runs from 0 s to -1 s, r.wav (12 such"),
    "none": (CALLS[:0], "there are no calls; nothing can be said about their order"),
    "late": (CALLS.assign(offset_s=99.0, onset_s=98.0), "but the recording has 60.0 s"),
    "no unit": (CALLS.drop(columns="unit"), "calls.csv: no column unit; repeat the run"),
    "words": (CALLS.assign(unit="up"), "calls.csv: unit = up in row 1 is no unit"),
    "half": (CALLS.assign(unit=0.5), "calls.csv: unit = 0.5 in row 1 is no unit"),
    "soon": (CALLS.assign(onset_s="soon"), "onset_s = soon in row 1 is not a number"),
}


@pytest.mark.parametrize("name", ODD_CALLS)
def test_a_table_that_cannot_be_is_told_in_one_line(name, tmp_path):
    calls, wanted = ODD_CALLS[name]
    folder, out = tmp_path / "results", tmp_path / "out"
    folder.mkdir()
    calls.to_csv(folder / "calls.csv", index=False)
    files = pd.DataFrame({"audio_path": ["r.wav"], "duration_s": 60.0, "error": ""})
    files.to_csv(folder / "recordings.csv", index=False)
    write_run(folder, Watch(), "assign", {"sha256": "abc"}, files[:0], {})
    code, said = run_command("sequences", folder, "-o", out)
    last = said.strip().splitlines()[-1]
    assert code == 1 and last.startswith("usvbook: ") and wanted in last, said
    assert "fault of the program" not in last and not out.exists()
