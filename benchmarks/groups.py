"""How often is a difference found, where there is none and where there is one?

Studies of animals, drawn as `usvbook.synthesis.draw_animal` draws them, go through the tests that
are usual and through those of `usvbook.studies`. Two studies more are made as sound, built, and
their usage of units kept. Results: nbs/tutorials/groups.csv and groups_usage.csv, which the
tutorial on groups reads.

    python benchmarks/groups.py            # all of it, about eight minutes of one processor
    python benchmarks/groups.py --few      # a look, not written
"""

import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from usvbook.animals import pool_rare
from usvbook.other_tests import dm_ratio_test, pooled_chi_square
from usvbook.run_record import versions
from usvbook.runs import build_repertoire
from usvbook.studies import Cases, Design, Usage, compare_all, compare_usage
from usvbook.synthesis import CLASS_WEIGHTS, STRAINS, draw_animal, make_study

FOLDER = Path(__file__).parent.parent / "nbs" / "tutorials"
FEW = "--few" in sys.argv
LEVEL, CONCENTRATION = 0.05, 60  # of the animals of make_study
PITCH_SD_HZ = 4_000 * 24**0.5  # of calls: intraclass correlation .04 with animals of 4 kHz


def draw(n_each, n_calls, strains, rng):
    """Counts of animals, pitch of every call, and calls per minute."""
    animals = [draw_animal("m", rng, s, CONCENTRATION) for s in strains for _ in range(n_each)]
    names = [f"m{k + 1}" for k in range(2 * n_each)]
    counts = pd.DataFrame([rng.multinomial(n_calls, a.weights) for a in animals], index=names)
    pitch = np.array([rng.normal(a.mean_freq_hz, PITCH_SD_HZ, n_calls) for a in animals])
    rate = pd.DataFrame({"per_minute": rng.gamma(4, 10, 2 * n_each)}, index=names)
    return counts, pitch, rate, pd.Series(np.repeat(["A", "B"], n_each), index=names)


def mixed_p(pitch, n_each):
    """Wald p of a mixed model with animals as random intercepts, and whether it complained."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    n, k = pitch.shape
    design = np.column_stack([np.ones(n * k), np.repeat(np.arange(n) >= n_each, k)]).astype(float)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = MixedLM(pitch.ravel() / 1000, design, groups=np.repeat(np.arange(n), k)).fit()
    return float(found.pvalues[1]), bool(said)


def usual(counts, pitch, group, n_each, mixed):
    """p of the usual tests; of one test a unit, the share below the level."""
    pooled = counts.groupby(group.to_numpy()).sum()
    total = pooled.sum(axis=1).to_numpy()
    pairs = [np.array([pooled[u], total - pooled[u]]) for u in pooled if pooled[u].sum() > 0]
    single = np.mean([stats.chi2_contingency(one).pvalue < LEVEL for one in pairs])
    found = {
        "chi-square over pooled calls": pooled_chi_square(counts, group)[1] < LEVEL,
        "one test a unit over pooled calls (share of units)": single,
        "t test over calls": stats.ttest_ind(*np.split(pitch, 2), axis=None).pvalue < LEVEL,
        "Dirichlet-multinomial likelihood ratio": dm_ratio_test(counts, group)[1] < LEVEL,
    }
    if mixed:
        p, complained = mixed_p(pitch, n_each)
        found["mixed model, Wald z (statsmodels)"] = p < LEVEL
        found["mixed model: fits with warnings"] = complained
    return found


def ours(counts, pitch, rate, cases, design):
    """p of every test of a comparison."""
    usage = compare_usage(Usage(counts, pool_rare(counts), cases), design)
    found = {name: one["p"] < LEVEL for name, one in usage.omnibus.items()}
    found["smallest family-wise p of units"] = usage.units["p_family"].min() < LEVEL
    found["smallest q of units"] = usage.units["q"].min() < LEVEL
    found["group told (decoding)"] = usage.decoding["p"] < LEVEL
    medians = pd.DataFrame({"pitch": np.median(pitch, axis=1)}, index=counts.index)
    found["median pitch of animals"] = compare_all(medians, cases, design)["p"][0] < LEVEL
    found["calls per minute"] = compare_all(rate, cases, design)["p"][0] < LEVEL
    return found, usage


def add(sums, found):
    """Count what was found: NumPy's booleans would only say whether it was found once."""
    for test, value in found.items():
        sums[test] += float(value)


def null_studies(n_each, n_studies, n_calls=400):
    """Shares rejected where nothing differs, and what doubled calls do."""
    rng, design, sums = np.random.default_rng(n_each), Design(n_permutations=999), Counter()
    moved, n_mixed = [], n_studies // 2
    for k in range(n_studies):
        counts, pitch, rate, group = draw(n_each, n_calls, (CLASS_WEIGHTS, CLASS_WEIGHTS), rng)
        cases = Cases(group)
        tests, usage = ours(counts, pitch, rate, cases, design)
        add(sums, tests | usual(counts, pitch, group, n_each, k < n_mixed))
        twice = Usage(2 * counts, pool_rare(2 * counts, min_calls=40), cases)
        again = compare_usage(twice, design)
        add(
            sums,
            {"chi-square, calls counted twice": pooled_chi_square(2 * counts, group)[1] < LEVEL},
        )
        add(sums, {"PERMANOVA, calls counted twice": again.omnibus["PERMANOVA"]["p"] < LEVEL})
        moved.append(abs(again.omnibus["PERMANOVA"]["p"] - usage.omnibus["PERMANOVA"]["p"]))
    rows = []
    for test, found in sums.items():
        n = n_mixed if test.startswith("mixed") else n_studies
        rows.append(("no difference", n_each, n_calls, test, n, float(found) / n))
    return [
        *rows,
        (
            "no difference",
            n_each,
            n_calls,
            "median change of p, calls counted twice",
            n_studies,
            float(np.median(moved)),
        ),
    ]


def power(n_each, n_calls, n_studies):
    """Shares found where strains A and B of make_study differ."""
    rng, design, sums = (
        np.random.default_rng(100 * n_each + n_calls),
        Design(n_permutations=999),
        Counter(),
    )
    for _ in range(n_studies):
        counts, pitch, rate, group = draw(n_each, n_calls, (STRAINS["A"], STRAINS["B"]), rng)
        tests, _ = ours(counts, pitch, rate, Cases(group), design)
        add(
            sums,
            {
                t: tests[t]
                for t in (
                    "PERMANOVA",
                    "smallest family-wise p of units",
                    "smallest q of units",
                    "group told (decoding)",
                )
            },
        )
    return [
        ("power", n_each, n_calls, test, n_studies, float(n) / n_studies)
        for test, n in sums.items()
    ]


def recorded(name, strains, n_each, n_calls):
    """A study as sound, its repertoire, and the usage of every animal."""
    with tempfile.TemporaryDirectory() as folder:
        make_study(Path(folder, "study"), n_each, n_calls, strains, random_state=7)
        paths = sorted(map(str, Path(folder, "study").glob("*.flac")))
        build_repertoire(paths, Path(folder, "out"), {"n_clusters": 20}, n_seeds=0)
        calls = pd.read_csv(Path(folder, "out", "calls.csv"))
    stem = calls["audio_path"].map(lambda p: Path(p).stem)
    rows = pd.DataFrame({"study": name, "animal": stem.str.split("_").str[1], "group": stem.str[0]})
    rows = rows.assign(unit=calls["unit"])
    return rows.groupby(["study", "group", "animal", "unit"]).size().rename("n_calls").reset_index()


def main():
    begin, rows = time.process_time(), []
    for n_each in (4, 6, 8):
        rows += null_studies(n_each, 3 if FEW else 200)
        print(f"null {n_each} v {n_each}: {time.process_time() - begin:.0f} s", flush=True)
    for n_each in (4, 6, 8, 12):
        for n_calls in (50, 200, 800):
            rows += power(n_each, n_calls, 2 if FEW else 60)
        print(f"power {n_each} v {n_each}: {time.process_time() - begin:.0f} s", flush=True)
    table = pd.DataFrame(
        rows, columns=["kind", "animals_each", "calls_each", "test", "n_studies", "share"]
    )
    if FEW:
        print(table.to_string())
        return
    used = versions()
    head = (
        "# " + ", ".join(f"{n} {used[n]}" for n in ("usvbook", "python", "numpy", "scipy")) + "\n"
    )
    head += "# Made again by: python benchmarks/groups.py\n"
    (FOLDER / "groups.csv").write_text(head + table.round(4).to_csv(index=False), encoding="utf-8")
    same = {"A": CLASS_WEIGHTS, "B": CLASS_WEIGHTS}
    usage = pd.concat(
        [recorded("two strains", STRAINS, 6, 100), recorded("one strain", same, 6, 100)]
    )
    (FOLDER / "groups_usage.csv").write_text(head + usage.to_csv(index=False), encoding="utf-8")
    print(f"all: {time.process_time() - begin:.0f} s")


if __name__ == "__main__":
    main()
