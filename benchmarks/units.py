"""What pictures, methods, K and order in time make of calls whose classes are known.

    python benchmarks/units.py pictures --data shared/data
    python benchmarks/units.py number --data shared/data
    python benchmarks/units.py order --data shared/data

Synthetic mice (`make_study`, 2 + 2 animals, 440 calls, 11 classes, at 8, 12 and 20 dB, cut at their
true times) and, where the folder has it, the song of a finch (`finch/syllables.csv`, 9 classes).
For `order` the mice are at 12 dB, and in a share of their calls (`--orders`) follow a rule of their
strain.
All calls, no split; the embedding's rows normalised; normalised mutual information (NMI), adjusted
Rand index (ARI) and purity against the true classes. Calls without picture have
a unit of their own.
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from usvbook.calls import Calls
from usvbook.context import context_affinity, regroup_in_context
from usvbook.metrics import purity
from usvbook.number_of_units import choose_k
from usvbook.preprocessing import CallImages, degenerate_rows, patches_for, unit_rows
from usvbook.recordings import Recording
from usvbook.repertoire import group_calls
from usvbook.segmentation import MultitaperSegmenter
from usvbook.self_expression import SolverOptions
from usvbook.sequences import bouts
from usvbook.simulated_pictures import simulated_pictures
from usvbook.ssc import Grouped, call_graph, cut_graph
from usvbook.synthesis import CLASSES, make_study

SONG = {"min_freq_hz": 500, "max_freq_hz": 10_000, "window_s": 0.016, "hop_s": 0.001}


class Known(NamedTuple):
    """Calls with their classes."""

    name: str
    vectors: dict[str, np.ndarray]  # of each picture, (n, 4096)
    classes: np.ndarray  # (n,)
    ks: tuple[int, int]  # numbers of units
    bout: np.ndarray  # (n,) of each call


def measured(
    marks: pd.DataFrame,  # audio_path, onset_s, offset_s
    folder: Path,
    settings: dict,  # of MultitaperSegmenter
    pictures: list[str],
) -> dict[str, np.ndarray]:
    """The vectors of marked calls, in the order of the marks, for each picture."""
    found: dict[str, np.ndarray] = {}
    for kind in sorted({patches_for(picture) for picture in pictures}):
        segmenter, parts = MultitaperSegmenter(**settings, patches=kind), []
        for name, one in marks.groupby("audio_path", sort=False):
            recording = Recording(folder / str(name))
            parts.append(segmenter.measure(recording, one["onset_s"], one["offset_s"]))
        calls = Calls.concat(parts)
        for picture in (p for p in pictures if patches_for(p) == kind):
            with warnings.catch_warnings(action="ignore"):
                found[picture] = CallImages(picture).transform(calls)
    return found


def studies(
    data: Path | None,
    seeds: list[int],
    levels_db: list[float],
    pictures: list[str],
) -> Iterator[Known]:
    """The mice, and the finch where it is."""
    for snr_db in levels_db:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                marks = make_study(folder, 2, 110, snr_db=snr_db, random_state=seed)
                vectors = measured(marks, Path(folder), {}, pictures)
            classes, bout = marks["call_class"].to_numpy(), bouts(marks, by=("audio_path",))
            yield Known(f"mice {snr_db:g} dB", vectors, classes, (11, 20), bout)
    if data and (data / "finch").is_dir():
        marks = pd.read_csv(data / "finch" / "syllables.csv")
        vectors = measured(marks, data / "finch", SONG, pictures)
        bout = marks.groupby(["audio_path", "song"], sort=False).ngroup().to_numpy()
        yield Known("finch", vectors, marks["label"].astype(str).to_numpy(), (9, 20), bout)


def scores(classes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Units against classes."""
    return {
        "NMI": normalized_mutual_info_score(classes, labels),
        "ARI": adjusted_rand_score(classes, labels),
        "purity": purity(classes, labels),
    }


def labelled(X: np.ndarray, ks: tuple[int, ...], method: str) -> Iterator[tuple[int, np.ndarray]]:
    """Labels for each number of units; -1 for calls without picture."""
    there = ~degenerate_rows(X)
    rows, options = X[there], SolverOptions(method=method)
    graph = call_graph(unit_rows(rows), options) if method in ("lasso", "cosine") else None
    for k in ks:
        labels = np.full(len(X), -1)
        with warnings.catch_warnings(action="ignore"):
            if graph is not None:
                labels[there] = cut_graph(graph.affinity, k, 0, "rows").labels
            else:
                labels[there] = group_calls(rows, k, options, random_state=0).labels
        yield k, labels


def compare_pictures(args: argparse.Namespace) -> None:
    """Each picture and method on each study."""
    rows: list[dict] = []
    for known in studies(args.data, args.seeds, args.levels_db, args.pictures):
        for picture, X in known.vectors.items():
            for method in args.methods:
                for k, labels in labelled(X, known.ks, method):
                    rows.append(
                        {"study": known.name, "picture": picture, "method": method, "K": k}
                        | {"no picture": degenerate_rows(X).sum(), "calls": len(X)}
                        | scores(known.classes, labels)
                    )
        print(f"# {known.name}: {len(known.classes)} calls", flush=True)
    keys = ["study", "picture", "method", "K"]
    groups = pd.DataFrame(rows).groupby(keys, sort=False)
    table = groups[["no picture", "calls"]].sum()
    for name in ("NMI", "ARI", "purity"):
        table[name] = groups[name].mean().map("{:.3f}".format)
    low, high = groups["NMI"].min(), groups["NMI"].max()
    table["NMI from"], table["to"] = low.map("{:.3f}".format), high.map("{:.3f}".format)
    print(table.to_string())


def compare_numbers(args: argparse.Namespace) -> None:
    """What halves say of the number of units, and how much of the truth is found with it."""
    rows, grid = [], [4, 6, 8, 9, 10, 12, 15, 18, 22, 30]
    shapes = [simulated_pictures(800, 12, random_state=seed) for seed in args.seeds]
    known = [
        Known("simulated pictures", {"band": X}, classes.astype(str), (12, 20), np.zeros(0))
        for X, classes in shapes
    ]
    for one in [*known, *studies(args.data, args.seeds, args.levels_db, ["band"])]:
        X = one.vectors["band"]
        choice = choose_k(X, grid, normalise="rows")
        truths = dict(labelled(X, tuple(grid), "lasso"))
        nmi = [scores(one.classes, truths[k])["NMI"] for k in grid]
        print(f"{one.name}, {len(np.unique(one.classes))} classes: {choice.reason()}")
        columns = {"halves": choice.stability, "error": choice.error, "NMI": nmi}
        columns |= {"eigengap": choice.eigengap, "silhouette": choice.silhouette}
        table = pd.DataFrame(columns | {"d_cos": choice.d_cos}, index=grid).T
        print(table.to_string(float_format="{:.3f}".format), flush=True)
        rows.append((one.name, nmi[grid.index(choice.range[-1])], max(nmi)))
    print("NMI with the K of auto, and at most:")
    for name, taken, most in rows:
        print(f"  {name:20} {taken:.3f}  {most:.3f}")


def ordered_mice(args: argparse.Namespace) -> Iterator[Known]:
    """Mice whose calls follow one another: `order` of them by a rule, the rest by chance.

    The rule is another for each of the two strains: a ring of all classes, drawn by chance.
    """
    n = len(CLASSES)
    for order, seed in product(args.orders, args.seeds):
        rng, rules = np.random.default_rng(seed), {}
        for strain in ("A", "B"):
            ring = rng.permutation(n)
            rules[strain] = np.full((n, n), (1 - order) / n)
            rules[strain][ring, np.roll(ring, -1)] += order
        how = {"snr_db": 12, "random_state": seed, "transitions": rules if order else None}
        with tempfile.TemporaryDirectory() as folder:
            marks = make_study(folder, 2, 110, **how)
            vectors = measured(marks, Path(folder), {}, ["band"])
        classes, bout = marks["call_class"].to_numpy(), bouts(marks, by=("audio_path",))
        yield Known(f"mice, order {order:g}", vectors, classes, (11, 20), bout)


def compare_orders(args: argparse.Namespace) -> None:
    """Units without and with context, in the true order and after the order was shuffled."""
    finch = studies(args.data, [], [], ["band"])
    for known in chain(ordered_mice(args), finch):
        for picture, X in known.vectors.items():
            there = np.flatnonzero(~degenerate_rows(X))
            rng, ks = np.random.default_rng(0), known.ks
            for order in ("true", "shuffled"):
                at = there if order == "true" else rng.permutation(there)
                bout = np.sort(known.bout[there])
                graph, classes = call_graph(unit_rows(X[at]), SolverOptions()), known.classes[at]
                for k in ks:
                    with warnings.catch_warnings(action="ignore"):
                        cut = cut_graph(graph.affinity, k, 0, "rows")
                        blind = Grouped(cut.labels, graph.coef, graph.affinity)
                        found, gate = regroup_in_context(blind, bout, k, 1.0, "rows", 0)
                        forced = cut_graph(context_affinity(graph.affinity, bout), k, 0, "rows")
                    nmi = [
                        scores(classes, labels)["NMI"]
                        for labels in (blind.labels, found.labels, forced.labels)
                    ]
                    same = np.array_equal(blind.labels, found.labels)
                    print(
                        f"{known.name:12} {picture:10} {order:9} K {k:3}  gain {gate.gain:6.2f}"
                        f"  shuffled {gate.shuffled:6.2f}  {'open' if gate.is_open else 'closed':6}"
                        f"  NMI without {nmi[0]:.3f}  with {nmi[1]:.3f}"
                        f"  without the gate {nmi[2]:.3f}{'  same labels' if same else ''}",
                        flush=True,
                    )


PARTS = {"pictures": compare_pictures, "number": compare_numbers, "order": compare_orders}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--data", type=Path, default=os.environ.get("USVBOOK_DATA"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--levels-db", type=float, nargs="*", default=[8, 12, 20])
    parser.add_argument("--orders", type=float, nargs="*", default=[0, 0.3, 0.6, 0.9])
    parser.add_argument("--methods", nargs="+", default=["lasso", "ward", "kmeans", "cosine"])
    parser.add_argument("--pictures", nargs="+", default=["cut", "frequency", "band"])
    args = parser.parse_args()
    args.data = Path(args.data) if args.data else None
    PARTS[args.part](args)


if __name__ == "__main__":
    main()
