"""Where separation begins, what a mask can reach at most, and whether talkers are counted right.

    python benchmarks/separation.py                 both tables, 300 mixtures each
    python benchmarks/separation.py --n 20 --only initial
    python benchmarks/separation.py SPEECH.csv --only count --model FILE.safetensors

SPEECH.csv has the columns file, speaker, split and sex, and lies beside its folders of recordings;
without it, `speech8k/speech.csv` in the folder that USVBOOK_DATA names is taken. Mixtures are made
by the paper's rule. `initial`: SDR of the mixture and improvement by the ideal binary mask, two and
three talkers. `count`: how often a network, that of the package unless `--model` names one,
estimates the number of talkers right. Means are over mixtures, with 95 % confidence intervals. One
thread, unless `--threads` says otherwise. (What networks and the oracle NMF reach is measured by
`training/talkers.py`, for the tutorial of that name.)
"""

import argparse
import os
import time
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from usvbook.deep_clustering import speech_front_end
from usvbook.embedding_network import load_model
from usvbook.evaluation import (
    evaluate,
    ideal_separator,
    known_mixtures,
    summarise,
)
from usvbook.mixtures import SoundBank, list_sounds
from usvbook.separation import separate
from usvbook.shipped_networks import shipped_model

PAPER_INITIAL_DB = {2: 0.16, 3: -2.95}


def show(title: str, table: pd.DataFrame, start: float) -> None:
    """A table with two decimals, and the time that it took."""
    print(f"\n{title} ({time.perf_counter() - start:.0f} s)")
    print(table.round(2).to_string(), flush=True)


def initial(bank: SoundBank, n: int, seed: int, groups: dict) -> None:
    """SDR of mixtures, and the ceiling."""
    for n_sources in (2, 3):
        start = time.perf_counter()
        known = known_mixtures(bank, n, n_sources=n_sources, random_state=seed)
        ways = {"ideal binary mask": ideal_separator(bank.front)}
        scores = evaluate(tqdm(known, total=n, leave=False), ways, group_of(groups))
        before = summarise(scores, "method", "initial_db").set_axis(["mixture itself"])
        after = summarise(scores, "method", "sdr_db").set_axis(["ideal mask, SDR"])
        better = summarise(scores).set_axis(["ideal mask, improvement"])
        table = pd.concat([before, after, better])
        show(
            f"{n_sources} talkers; the paper's mixtures: {PAPER_INITIAL_DB[n_sources]} dB",
            table,
            start,
        )
        if groups:
            show("improvement by the ideal mask", summarise(scores, "group"), start)


def group_of(groups: dict):
    """Names of talkers to a group such as F+M; None without knowledge."""
    if not groups:
        return None
    return lambda names: "+".join(sorted(groups.get(name, "?") for name in names))


def count(bank: SoundBank, n: int, seed: int, path: str | None) -> None:
    """Estimated against true number of talkers."""
    network, rows = load_model(path) if path else shipped_model("talkers"), []
    for n_sources in (1, 2, 3):
        for one in known_mixtures(bank, n, n_sources=n_sources, random_state=seed):
            found = separate(one.mixture, network).count
            rows.append((n_sources, found.n_sources, found.confidence))
    table = pd.DataFrame(rows, columns=["true", "estimated", "confidence"])
    print("\nnumber of talkers: mixtures (rows: true, columns: estimated), mean confidence")
    print(pd.crosstab(table["true"], table["estimated"]).to_string())
    print(table.groupby(["true", "estimated"])["confidence"].mean().round(2).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    there = Path(os.environ.get("USVBOOK_DATA", ".")) / "speech8k" / "speech.csv"
    parser.add_argument("speech", type=Path, nargs="?", default=there)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=["initial", "count"])
    parser.add_argument("--model")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    bank = SoundBank.read(list_sounds(given.speech, given.split), speech_front_end())
    rows = pd.read_csv(given.speech, dtype=str)
    groups = dict(zip(rows["speaker"], rows["sex"], strict=True)) if "sex" in rows else {}
    print(bank)
    parts = given.only or ["initial", "count"]
    if "initial" in parts:
        initial(bank, given.n, given.seed, groups)
    if "count" in parts:
        count(bank, given.n, given.seed, given.model)


if __name__ == "__main__":
    main()
