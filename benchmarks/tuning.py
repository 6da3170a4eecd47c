"""Time that each stage of the tuner takes after a move of a slider.

    python benchmarks/tuning.py --n 2000

On simulated pictures of calls, in one process, each stage once per repeat and setting; the table
holds the median and the fastest wall time, and the least time of processors (of two that nobody
else uses, half of it is the wall time at best). Times are from the move: a stage contains the
stages before it. "Graph figures" are the histogram, the numbers of the graph and the spectrum,
drawn. "Labels and mosaic" begin when these are shown.
"""

import argparse
from collections.abc import Iterator
from statistics import median
from typing import Any

from _measure import Clock

from usvbook.repertoire import Repertoire
from usvbook.simulated_pictures import simulated_pictures
from usvbook.trials import Choice, Trials, follow_path, layout, stability
from usvbook.tuning import (
    aside,
    comparison_table,
    draw_mosaic,
    example_stages,
    graph_table,
    quick_stages,
)

GOAL_S = {"graph figures": 0.3, "labels and mosaic": 2.0}


def moves(n_clusters: int, k: int) -> dict[str, Choice]:
    """A new value of each slider, for repeat k; the others stay."""
    tau, lam, method = 0.85, 0.3, "lasso"
    return {
        "τ moved": Choice(round(tau + 0.01 * (k + 1), 2), lam, n_clusters, method),
        "λ moved": Choice(tau, round(lam + 0.01 * (k + 1), 2), n_clusters, method),
        "K moved": Choice(tau, lam, n_clusters + 1 + k, method),
    }


def quick(trials: Trials, choice: Choice) -> Iterator[tuple[str, Any]]:
    for stage in quick_stages(trials, choice):
        yield (
            {"similarity": "histogram", "graph": "numbers", "spectrum": "graph figures"}[
                next(iter(stage))
            ],
            stage,
        )


def line(what: str, stage: str, passed: list[tuple[float, float]]) -> None:
    goal = GOAL_S.get(stage)
    said = "" if goal is None else f"  (goal {goal:g} s)"
    walls, busy = zip(*passed, strict=True)
    numbers = f"{median(walls):8.3f}{min(walls):9.3f}{min(busy):12.3f} s"
    print(f"{what:<24}{stage:<26}{numbers}{said}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--n-clusters", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    X, _ = simulated_pictures(args.n, 46, random_state=0)
    trials = Trials(X, Repertoire(n_jobs=-1), n_kept=500)
    base = Choice(0.85, 0.3, args.n_clusters, "lasso")
    [*quick_stages(trials, base)], draw_mosaic(trials, base)  # compile or load
    print(f"{args.n} calls, K = {args.n_clusters}, {args.repeats} repeats\n")
    print(f"{'move':<24}{'stage':<26}{'median':>8}{'fastest':>9}{'processors':>12}")
    walls: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for k in range(args.repeats):
        clock = Clock()
        for stage, _ in quick(trials, base._replace(lam=round(0.4 + 0.01 * k, 2))):
            walls.setdefault(("λ moved, no path yet", stage), []).append(clock.read())
    clock = Clock()
    follow_path(trials, base)
    path_s = clock.read()
    for k in range(args.repeats):
        for what, choice in moves(args.n_clusters, k).items():
            clock = Clock()
            for stage, _ in quick(trials, choice):
                walls.setdefault((what, stage), []).append(clock.read())
            clock = Clock()
            draw_mosaic(trials, choice)
            passed = clock.read()
            walls.setdefault((what, "labels and mosaic"), []).append(passed)
    for (what, stage), seconds in walls.items():
        line(what, stage, seconds)
    print()
    slow = {
        "path of λ": lambda: None,
        "CS + SC beside it": lambda: aside(lambda: comparison_table(trials, base, ("cosine",))),
        "t-SNE": lambda: aside(lambda: layout(trials, base)),
        "k-means beside it": lambda: aside(lambda: comparison_table(trials, base, ("kmeans",))),
        "stability, three seeds": lambda: aside(lambda: stability(trials, base)),
        "examples of a unit": lambda: [*example_stages(trials, (base, 0, 20))],
        "numbers of the graph": lambda: graph_table(trials, base),
    }
    for stage, make in slow.items():
        clock = Clock()
        make()
        line("in the background", stage, [path_s or clock.read()])
        path_s = None


if __name__ == "__main__":
    main()
