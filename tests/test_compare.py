"""Groups of animals compared from the command line: what comes out, and what each fault prints."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import run_command
from scipy import stats

from usvbook.groups import compare_measures
from usvbook.other_tests import intraclass
from usvbook.run_record import Watch, write_run

N_UNITS = 4


def leave_results(folder, counts, minutes=1.0):
    """A results folder as a run leaves it: one recording an animal, with so many calls a unit."""
    folder.mkdir(parents=True)
    names, rng = [f"r{k + 1}.wav" for k in range(len(counts))], np.random.default_rng(0)
    rows = []
    for name, own in zip(names, counts, strict=True):
        unit = np.repeat(np.arange(len(own)), own)
        table = pd.DataFrame({"audio_path": name, "channel": 0, "unit": unit})
        table["duration_s"] = rng.gamma(4, 0.01, len(unit)).round(6)
        rows.append(table.assign(peak_freq_hz=70_000 + 1000 * rng.normal(size=len(unit)).round(3)))
        (folder / name).write_bytes(name.encode())
    pd.concat(rows).to_csv(folder / "calls.csv", index=False)
    recordings = pd.DataFrame({"audio_path": names, "duration_s": 60 * minutes, "error": ""})
    recordings.to_csv(folder / "recordings.csv", index=False)
    inputs = pd.DataFrame({"audio_path": [str(folder / name) for name in names]})
    write_run(folder, Watch(), "assign", {"sha256": "abc"}, inputs, {})
    return folder


def write_study(path, groups, head="audio_path,animal,group", more=None, animals=None):
    """A study table: recordings r1, r2, ... of animals m1, m2, ..."""
    rows = [head]
    for k, group in enumerate(groups):
        animal = f"m{k + 1}" if animals is None else animals[k]
        cells = [f"r{k + 1}", animal, group] + ([] if more is None else [more[k]])
        rows.append(",".join(f'"{cell}"' if "," in cell else cell for cell in cells))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def drawn_counts(n, seed=0, shift=3.0):
    """Counts of n animals; the second half uses unit 0 more."""
    rng, weights = np.random.default_rng(seed), np.ones((n, N_UNITS))
    weights[n // 2 :, 0] *= shift
    return np.array(
        [rng.multinomial(rng.integers(60, 160), rng.dirichlet(20 * w)) for w in weights]
    )


def compare(tmp_path, counts, groups, *words, more=None, head="audio_path,animal,group", **study):
    """Exit code, all that was printed, and the numbers of a comparison."""
    results = leave_results(tmp_path / "results", counts)
    table = write_study(tmp_path / "animals.csv", groups, head, more, **study)
    out = tmp_path / "out"
    code, said = run_command("compare", results, "--animals", table, "-o", out, *words)
    assert "Traceback" not in said
    path = out / "comparison.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    assert (told is None) == (code != 0) and (code == 0 or not out.exists())
    return code, said, told


# ------------------------------------------------------------------------- what comes out


def test_six_against_six(tmp_path):
    """The floor first; every file is there; the page says n and floor, and loads nothing."""
    code, said, told = compare(tmp_path, drawn_counts(12), list("AAAAAABBBBBB"))
    assert code == 0 and "6 animals of A against 6 of B" in said and ".0022" in said
    assert told["least_p"] == pytest.approx(2 / 924) and told["n_relabelings"] == 924
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index("smallest p") < page.index("PERMANOVA") < page.index('id="for-a-methods')
    assert "n = 12 animals, floor .0022" in page and not re.search(
        r'(src|href)="(https?:)?//', page
    )
    units = pd.read_csv(tmp_path / "out" / "units_compared.csv")
    assert (units["p"] >= units["least_p"] - 1e-5).all() and (
        units["p_family"] >= units["p"] - 1e-5
    ).all()
    assert {
        "diversity.csv",
        "usage.csv",
        "recordings.csv",
        "measures_compared.csv",
        "run.json",
    } <= {path.name for path in (tmp_path / "out").iterdir()}


def test_calls_counted_twice_make_nothing_surer(tmp_path):
    """Pseudoreplication: twice the calls of the same animals, and p stays."""
    first = compare(tmp_path / "a", drawn_counts(10), list("AAAAABBBBB"))[2]
    twice = compare(tmp_path / "b", 2 * drawn_counts(10), list("AAAAABBBBB"))[2]
    for test, found in first["usage"]["omnibus"].items():
        assert twice["usage"]["omnibus"][test]["p"] == pytest.approx(found["p"], abs=0.05), test
    assert twice["usage"]["decoding"]["p"] == pytest.approx(
        first["usage"]["decoding"]["p"], abs=0.03
    )


def test_names_of_groups_change_nothing(tmp_path):
    counts = drawn_counts(8)
    plain = compare(tmp_path / "a", counts, list("AAAABBBB"))[2]
    odd = compare(
        tmp_path / "b", counts, ['wild type, "WT"'.replace('"', "'")] * 4 + ["Müß <b>鼠</b>"] * 4
    )[2]
    for test, found in plain["usage"]["omnibus"].items():
        assert odd["usage"]["omnibus"][test]["p"] == found["p"]
    page = (tmp_path / "b" / "out" / "report.html").read_text(encoding="utf-8")
    assert "<b>鼠</b>" not in page and "Müß &lt;b&gt;鼠" in page


def test_three_groups_of_unequal_size(tmp_path):
    code, _, told = compare(tmp_path, drawn_counts(12), list("AAABBBBCCCCC"))
    assert code == 0 and told["animals"] == {"A": 3, "B": 4, "C": 5}
    assert len(told["usage"]["pairs"]) == 3
    pairs = pd.DataFrame(told["usage"]["pairs"])
    assert (pairs["p_holm"] >= pairs["p"]).all() and "energy distance" not in told["usage"][
        "omnibus"
    ]
    units = pd.read_csv(tmp_path / "out" / "units_compared.csv")
    assert set(units["group_a"] + units["group_b"]) == {"AB", "AC", "BC"}


def test_unequal_groups_have_no_twin(tmp_path):
    told = compare(tmp_path, drawn_counts(8), list("AAABBBBB"))[2]
    assert told["least_p"] == pytest.approx(1 / 56)


def test_an_animal_without_a_call_has_a_rate(tmp_path):
    counts = drawn_counts(8)
    counts[3] = 0
    code, said, told = compare(tmp_path, counts, list("AAAABBBB"))
    assert code == 0 and "1 animal(s) without a call in a unit have a rate but no usage: m4" in said
    assert told["animals"] == {"A": 4, "B": 4} and told["usage"]["animals"] == {"A": 3, "B": 4}
    rates = pd.read_csv(tmp_path / "out" / "measures_compared.csv").set_index("measure")
    assert rates.loc["per_minute", "n"] == 8 and rates.loc["duration_s", "n"] == 7


def test_pairs_and_strata(tmp_path):
    words = {"head": "audio_path,animal,group,cage", "more": list("12341234")}
    counts = drawn_counts(8)
    free = compare(tmp_path / "a", counts, list("AAAABBBB"), **words)[2]
    paired = compare(tmp_path / "b", counts, list("AAAABBBB"), "--paired", "cage", **words)[2]
    within = compare(
        tmp_path / "c", counts, list("AAAABBBB"), "--strata", "litter",
        head="audio_path,animal,group,litter", more=list("xxyyxxyy"),
    )[2]  # fmt: skip
    assert [one["least_p"] for one in (free, paired, within)] == [2 / 70, 2 / 16, 1 / 18]


def test_each_animal_its_own_control(tmp_path):
    counts, who = drawn_counts(10), [f"m{k % 5}" for k in range(10)]
    code, _, told = compare(
        tmp_path, counts, ["before"] * 5 + ["after"] * 5, "--paired", "animal", animals=who
    )
    assert code == 0 and told["animals"] == {"after": 5, "before": 5}
    assert (
        told["least_p"] == 2 / 32
        and "paired by animal" in (tmp_path / "out" / "report.html").read_text()
    )


def test_two_against_two_are_described(tmp_path):
    code, said, told = compare(tmp_path, drawn_counts(4), list("AABB"), "--describe")
    assert code == 0 and "the smallest p they can give is .33" in said and not told["tested"]
    assert not (tmp_path / "out" / "units_compared.csv").exists()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "nothing is tested here" in page and "<b>p = " not in page


# ------------------------------------------------------------------------------ bad input

EIGHT = list("AAAABBBB")
BAD = {  # name -> groups, words, more of the table, what is printed
    "one group": (["A"] * 8, (), {}, "1 group(s); a comparison needs two or more"),
    "one animal": (
        list("AAAAAAAB"),
        (),
        {},
        "group B: 1 animal(s); three are the fewest for a test",
    ),
    "two animals": (list("AAAAAABB"), (), {}, "add animals, or pass --describe"),
    "case": (["WT", "wt ", "Wt", "WT", *"BBBB"], (), {}, "differ by case or spaces only"),
    "two groups": (
        EIGHT,
        (),
        {"animals": ["m1"] * 8},
        "animal m1 is in groups A and B; an animal has one",
    ),
    "few rows": (
        list("AAABBB"),
        (),
        {},
        "no row for r7.wav, r8.wav; add them, or pass --leave-unmatched",
    ),
    "no column": (
        EIGHT,
        ("--group", "strain"),
        {},
        "no column strain; there are: audio_path, animal, group",
    ),
    "no strata": (EIGHT, ("--strata", "litter"), {}, "no column litter in the study table"),
    "both": (
        EIGHT,
        ("--paired", "x", "--strata", "y"),
        {},
        "--paired and --strata exclude each other",
    ),
    "broken pair": (
        EIGHT,
        ("--paired", "cage"),
        {"head": "audio_path,animal,group,cage", "more": list("12341235")},
        "pair 4: must have one case in each group; complete it or leave it out",
    ),
    "empty pair": (
        EIGHT,
        ("--paired", "cage"),
        {"head": "audio_path,animal,group,cage", "more": [*"1234123", ""]},
        "animals without a value of cage: m8; fill it in",
    ),
    "few permutations": (
        EIGHT,
        ("--n-permutations", 5),
        {},
        "--n-permutations = 5 must be from 99",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_is_one_line_and_nothing_is_written(name, tmp_path):
    groups, words, study, wanted = BAD[name]
    code, said, told = compare(tmp_path, drawn_counts(8), groups, *words, **study)
    last = said.strip().splitlines()[-1]
    assert code == 1 and told is None and last.startswith("usvbook: ")
    assert wanted.replace("--", "") in last.replace("--", ""), last


def test_left_out_and_unused_rows_are_named(tmp_path):
    groups = [*"AAAABBB"]
    code, said, told = compare(tmp_path, drawn_counts(8), groups, "--leave-unmatched")
    assert code == 0 and "no row for r8.wav; left out of comparisons" in said
    assert told["animals"] == {"A": 4, "B": 3} and any("r8.wav" in note for note in told["notes"])
    code, said, _ = compare(tmp_path / "b", drawn_counts(8), [*"AAAABBBBBBBBB"])
    assert code == 0 and "no recording for r9, r10, r11 and 2 more" in said


def test_all_calls_in_one_unit(tmp_path):
    counts = drawn_counts(8) * np.array([1, 0, 0, 0]) + np.array([1, 0, 0, 0])
    code, said, told = compare(tmp_path, counts, EIGHT)
    assert code == 0 and "usage is not tested: all calls are of one unit" in said
    assert told["usage"]["omnibus"] == {} and (tmp_path / "out" / "measures_compared.csv").exists()


def test_not_a_results_folder(tmp_path):
    code, said = run_command(
        "compare", tmp_path, "--animals", tmp_path / "a.csv", "-o", tmp_path / "o"
    )
    assert code == 1 and "no such record of a run" in said and not (tmp_path / "o").exists()


# ------------------------------------------------------------- independent implementations

Y = [50, 54, 46, 50, 60, 58, 62, 60, 52, 50, 54, 56, 66, 64, 62, 68, 58, 60, 62, 60, 70, 72, 66, 72]


def test_statsmodels_agrees():
    """Mixed model, Holm and false discovery rate, on the worked example of calls in animals."""
    linear = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    many = pytest.importorskip("statsmodels.stats.multitest")
    who = np.repeat(np.arange(6), 4)
    design = np.column_stack([np.ones(24), who >= 3]).astype(float)
    fit = linear.MixedLM(np.array(Y, float), design, groups=who).fit()
    found = intraclass(Y, who, who >= 3)
    own = float(np.asarray(fit.cov_re)[0, 0])
    assert found["icc"] == pytest.approx(own / (own + fit.scale), abs=1e-3)
    assert fit.pvalues[1] == pytest.approx(0.0099, abs=2e-4)  # the normal: too sure of six animals
    means = np.reshape(Y, (6, 4)).mean(1)
    honest = stats.ttest_ind(means[:3], means[3:], equal_var=False).pvalue
    assert honest == pytest.approx(0.061457, abs=1e-6)
    rows = pd.DataFrame({"audio_path": who.astype(str), "channel": 0, "y": Y})
    animals = pd.DataFrame({"audio_path": [*"012345"], "channel": "", "animal": [*"012345"]})
    table = compare_measures(rows, animals.assign(group=[*"AAABBB"]), ["y"], "mean")
    assert table["p"][0] == pytest.approx(0.2) and fit.pvalues[1] < honest
    p = np.array([2, 24, 2, 44]) / 70
    theirs = many.multipletests(p, method="fdr_bh")[1]
    assert theirs == pytest.approx([0.057143, 0.457143, 0.057143, 0.628571], abs=1e-6)
    assert theirs == pytest.approx(stats.false_discovery_control(p))
