"""Does a source stay the same voice through a long recording, and the same mouse?

    python benchmarks/continuity.py --csv nbs/continuity.csv     some minutes on one core
    python benchmarks/continuity.py --n 4                        fewer mixtures

`talkers`: two development readers of `speech8k` in the folder that USVBOOK_DATA names, equally
loud, for a minute; windows of 4 s. `mice`: two synthetic animals, 12 s, with 30 overlaps of two
calls each; windows from the first onset to the last offset of an overlap. In each window the two
sources found are held against the two true ones in both orders. The order that wins over the
whole recording is the recording's; a window in which the other is better is *swapped* (half of
them would be chance). The networks are those of the package, the number of sources is told.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from usvbook.recordings import Recording
from usvbook.separation import separate
from usvbook.shipped_networks import shipped_model
from usvbook.synthesis import synthesize

Windows = list[tuple[int, int]]  # first sample, one past the last


def long_talks(n: int, seconds: int = 60) -> Iterator[tuple[np.ndarray, np.ndarray, Windows]]:
    """Sources, mixture and windows of two readers each; a reader's recording is repeated."""
    folder = Path(os.environ["USVBOOK_DATA"]) / "speech8k"
    rows = pd.read_csv(folder / "speech.csv")
    rows = rows[rows["split"] == "dev"]
    cuts = [(i, i + 32_000) for i in range(0, seconds * 8_000, 32_000)]
    for seed in range(n):
        rng, voices = np.random.default_rng(seed), []
        for name in rng.choice(rows["file"].to_numpy(), 2, replace=False):
            x = Recording(folder / name).read()
            x = np.roll(0.05 * (x - x.mean()) / x.std(), rng.integers(len(x)))
            voices.append(np.resize(x, seconds * 8_000))
        sources = np.stack(voices).astype(np.float32)
        yield sources, sources.sum(0), cuts


def long_calls(n: int, seconds: int = 12) -> Iterator[tuple[np.ndarray, np.ndarray, Windows]]:
    """Sources, mixture and windows of two animals each."""
    for seed in range(n):
        mixture, truth, parts = synthesize(
            seconds, 5 * seconds, 250_000, 25, overlap=1.0, animal=["m1", "m2"],
            random_state=seed, return_sources=True,
        )  # fmt: skip
        sources = np.zeros((2, len(mixture)), np.float32)
        for i, animal in enumerate(truth["animal"]):
            sources[int(animal == "m2")] += parts.alone(i)
        cuts = []
        for i in range(0, len(truth) - 1, 2):  # calls in order of onset, in pairs
            pair = truth.iloc[i : i + 2]
            if pair["animal"].nunique() == 2:
                ends = pair["onset_s"].min(), pair["offset_s"].max()
                cuts.append((round(ends[0] * 250_000), round(ends[1] * 250_000)))
        yield sources, mixture, cuts


def lead_and_gain(sources: np.ndarray, found: np.ndarray, mixture: np.ndarray) -> tuple:
    """How much better the order as it is fits than the other, and what the better one gains, dB."""

    def snr_db(truth: np.ndarray, estimate: np.ndarray) -> float:
        error = ((truth - estimate) ** 2).sum()
        return 10 * np.log10((truth**2).sum() / max(error, 1e-12))

    table = np.array([[snr_db(truth, one) for one in found] for truth in sources])
    before = np.mean([snr_db(truth, mixture) for truth in sources])
    straight, crossed = table[0, 0] + table[1, 1], table[0, 1] + table[1, 0]
    return straight - crossed, max(straight, crossed) / 2 - before


def study(name: str, mixtures: Iterator) -> list[dict]:
    """One row for each mixture."""
    network, rows = shipped_model(name), []
    for number, (sources, mixture, cuts) in enumerate(mixtures):
        found = separate(mixture, network, 2).signals
        each = [
            lead_and_gain(sources[:, i:j], found[:, i:j], mixture[i:j])
            for i, j in cuts
            if np.square(sources[:, i:j]).sum(1).min() > 0
        ]
        leads, gains = np.array(each).T
        swapped = leads * np.sign(leads.sum()) < 0
        row = {
            "kind": name,
            "mixture": number,
            "windows": len(leads),
            "swapped": int(swapped.sum()),
        }
        rows.append(row | {"improvement_db": round(float(gains.mean()), 2)})
        print(*rows[-1].values(), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--csv", type=Path, help="table to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = study("talkers", long_talks(given.n)) + study("mice", long_calls(given.n // 2))
    table = pd.DataFrame(rows)
    if given.csv is not None:
        table.to_csv(given.csv, index=False)
        print(f"written to {given.csv}")
    total = table.groupby("kind", sort=False)[["windows", "swapped"]].sum()
    print(total.assign(share=(total["swapped"] / total["windows"]).round(3)).to_string())


if __name__ == "__main__":
    main()
