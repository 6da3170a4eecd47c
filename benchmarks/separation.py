"""What separation can reach, and where it begins: mixtures of talkers by the paper's rule.

    python benchmarks/separation.py                 all tables, 300 mixtures each
    python benchmarks/separation.py --n 20 --only initial
    python benchmarks/separation.py SPEECH.csv --only model --model FILE.safetensors

SPEECH.csv has the columns file, speaker, split and sex, and lies beside its folders of recordings;
without it, `speech8k/speech.csv` in the folder that USVBOOK_DATA names is taken.
`initial`: SDR of the mixture and improvement by the ideal binary mask, two and three talkers.
`nmf`: oracle sparse NMF, 256 bases and 8 frames of context, learned from the first 60 % of each
reader's recording; mixtures are cut from the rest. `model`: the clusterings of the paper's Table 1
with a network, that of the package unless `--model` names one. `count`: how often the number of
talkers is estimated right. Means are over mixtures, with 95 %
confidence intervals. One thread, unless `--threads` says otherwise.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from usvbook.deep_clustering import speech_front_end
from usvbook.embedding_network import Model, load_model
from usvbook.evaluation import (
    evaluate,
    ideal_separator,
    known_mixtures,
    model_separators,
    summarise,
    unseparated,
)
from usvbook.mixtures import SoundBank, list_sounds
from usvbook.separation import separate
from usvbook.separation_runs import shipped_model
from usvbook.sparse_nmf import oracle_separator, speaker_spectra

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


def nmf(bank: SoundBank, n: int, seed: int, groups: dict, how: dict) -> None:
    """The oracle baseline."""
    start = time.perf_counter()
    bar = tqdm(total=len(bank.lengths), leave=False)
    spectra = speaker_spectra(bank, 0.6, lambda _: bar.update(), sparsity=how["sparsity"])
    each_s = (time.perf_counter() - start) / len(spectra)
    print(f"\noracle NMF: spectra of {len(spectra)} readers, {each_s:.1f} s each", flush=True)
    for n_sources, paper in ((2, "4.90 to 5.06"), (3, "4.42")):
        start = time.perf_counter()
        known = known_mixtures(bank, n, n_sources=n_sources, begin=0.6, random_state=seed)
        ways = {"mixture": unseparated, "oracle NMF": oracle_separator(spectra, bank.front, **how)}
        ways["ideal mask"] = ideal_separator(bank.front)
        scores = evaluate(tqdm(known, total=n, leave=False), ways, group_of(groups))
        show(f"{n_sources} talkers, improvement; the paper: {paper} dB", summarise(scores), start)
        if groups:
            found = scores[scores["method"] == "oracle NMF"]
            show("oracle NMF by group", summarise(found, "group"), start)


def network_of(path: str | None) -> Model:
    """The network of a file, or of the package."""
    return load_model(path) if path else shipped_model("talkers")


def model(bank: SoundBank, n: int, seed: int, groups: dict, path: str | None) -> None:
    """The clusterings of Table 1, hard and soft, and two floors."""
    network = network_of(path)
    bank = SoundBank(sounds_of(bank), bank.names[bank.owners], network.front)
    for n_sources in (2, 3):
        start = time.perf_counter()
        ways = {"ideal mask": ideal_separator(network.front)}
        for floor_db in (20.0, 40.0):
            for softness in (0.0, 4.0):
                kind = f"{'soft' if softness else 'hard'}, {floor_db:.0f} dB"
                settings = {"floor_db": floor_db, "softness": softness}
                found = model_separators(network, 100, **settings)
                ways |= {f"{name}, {kind}": way for name, way in found.items()}
        known = known_mixtures(bank, n, n_sources=n_sources, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = evaluate(tqdm(known, total=n, leave=False), ways, group_of(groups))
        show(f"{n_sources} talkers, improvement", summarise(scores), start)


def sounds_of(bank: SoundBank) -> list[np.ndarray]:
    """The sounds of a bank one by one."""
    ends = bank.starts + bank.lengths
    return [bank.samples[a:b].cpu().numpy() for a, b in zip(bank.starts, ends, strict=True)]


def count(bank: SoundBank, n: int, seed: int, path: str | None) -> None:
    """Estimated against true number of talkers."""
    network, rows = network_of(path), []
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
    parser.add_argument("--only", nargs="*", choices=["initial", "nmf", "model", "count"])
    parser.add_argument("--model")
    parser.add_argument("--sparsity", type=float, default=0.5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    bank = SoundBank.read(list_sounds(given.speech, given.split), speech_front_end())
    rows = pd.read_csv(given.speech, dtype=str)
    groups = dict(zip(rows["speaker"], rows["sex"], strict=True)) if "sex" in rows else {}
    print(bank)
    parts = given.only or ["initial", "nmf", "model", "count"]
    if "initial" in parts:
        initial(bank, given.n, given.seed, groups)
    if "nmf" in parts:
        nmf(bank, given.n, given.seed, groups, {"sparsity": given.sparsity})
    if "model" in parts:
        model(bank, given.n, given.seed, groups, given.model)
    if "count" in parts:
        count(bank, given.n, given.seed, given.model)


if __name__ == "__main__":
    main()
