"""Seconds that each stage of `Repertoire.fit` takes, and its share.

    python benchmarks/repertoire.py --n 9000 --k 40

On simulated pictures of calls. The functions of the stages are wrapped with a clock where
`Repertoire` and its clusterer look them up; what no stage accounts for is `the rest`.
"""

import argparse
import functools
import time

import pandas as pd

from usvbook import repertoire, ssc
from usvbook.self_expression import gram
from usvbook.simulated_pictures import simulated_pictures

STAGES = (
    (repertoire, "max_similarity", "04 nearest neighbours (τ)"),
    (ssc, "self_expression", "04c self-expression (λ)"),
    (ssc, "affinity", "05 affinity"),
    (ssc, "spectral_embedding", "04e spectral embedding"),
    (ssc, "spectral_labels", "04e k-means (K)"),
    (repertoire, "settle", "06 assignment of outliers"),
    (repertoire, "quality", "07 metrics"),
)


def clocked(module: object, name: str, times: dict[str, list[float]], label: str) -> None:
    """Replace `module.name` by the same function with a clock around it."""
    function = getattr(module, name)

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        times.setdefault(label, []).append(time.perf_counter() - start)
        return result

    setattr(module, name, wrapped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=3000, help="calls")
    parser.add_argument("--k", type=int, default=40, help="units")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    X = simulated_pictures(args.n, 46)[0]
    model = repertoire.Repertoire(n_clusters=args.k, n_jobs=-1)
    model.fit(X[:400])  # compile or load
    times: dict[str, list[float]] = {}
    for module, name, label in STAGES:
        clocked(module, name, times, label)
    clocked(repertoire.Repertoire, "fit", times, "Repertoire.fit")
    grams = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        gram(X)
        grams.append(time.perf_counter() - start)
        model.fit(X)
    table = pd.DataFrame(times).median().rename("seconds").to_frame()
    whole = table.loc["Repertoire.fit"]
    table.loc["the rest"] = whole - table.drop("Repertoire.fit").sum()
    table["share"] = (100 * table["seconds"] / whole.item()).map("{:.0f} %".format)
    table["x Gram"] = table["seconds"] / pd.Series(grams).median()
    print(f"{args.n} calls, {model.is_inlier_.mean():.0%} inliers, K = {args.k}; medians")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
