"""Time of t-SNE by scikit-learn and by openTSNE, and whether it depends on the number of threads.

    python benchmarks/tsne.py --sizes 500 2000 9000

Both get the same coordinates, as a spectral embedding makes them: `--k` columns, groups of calls.
"kept" is the share of the 10 nearest neighbours of a call that are among its 10 nearest in the
picture: a faster layout is worth nothing if it keeps fewer. "same" tells whether one and two
threads give the same bytes. openTSNE is an extra of this benchmark: `pip install openTSNE`.
"""

import argparse
import os

import numpy as np
from _measure import timed
from openTSNE import TSNE as OpenTSNE
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from usvbook.self_expression import self_expression
from usvbook.simulated_pictures import simulated_pictures
from usvbook.spectral import normalise_embedding, spectral_embedding
from usvbook.ssc import affinity


def coordinates(n: int, k: int, seed: int) -> np.ndarray:
    """A spectral embedding (n, k) of simulated pictures of calls."""
    X, _ = simulated_pictures(n, 46, random_state=seed)
    return normalise_embedding(spectral_embedding(affinity(self_expression(X)), k, seed).embedding)


def kept(E: np.ndarray, xy: np.ndarray, count: int = 10) -> float:
    """Share of the nearest neighbours in E that are neighbours in the layout too."""
    near = [
        NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)
        for points in (E, xy)
    ]
    pairs = zip(*near, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / count for a, b in pairs]))


def layout(name: str, E: np.ndarray, n_jobs: int, seed: int) -> np.ndarray:
    if name == "scikit-learn":
        return TSNE(init="pca", random_state=seed, n_jobs=n_jobs).fit_transform(E)
    _, gradient = name.split(" ")
    tsne = OpenTSNE(
        initialization="pca", negative_gradient_method=gradient, random_state=seed, n_jobs=n_jobs
    )
    return np.asarray(tsne.fit(E))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 9000])
    parser.add_argument("--k", type=int, default=40, help="coordinates")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{os.cpu_count()} processors")
    print(f"{'':<14}{'n':>6}{'threads':>9}{'CPU s':>8}{'wall s':>8}{'kept':>6}  same")
    for n in args.sizes:
        E = coordinates(n, args.k, args.seed)
        for name in ("scikit-learn", "openTSNE bh", "openTSNE fft"):
            results = []
            for n_jobs in (1, 2):
                with threadpool_limits(n_jobs):
                    wall, cpu, xy = timed(layout, name, E, n_jobs, args.seed)
                results.append(xy)
                share = kept(E, results[-1])
                same = "" if n_jobs == 1 else np.array_equal(*results)
                print(
                    f"{name:<14}{n:>6}{n_jobs:>9}{cpu:>8.2f}{wall:>8.2f}{share:>6.2f}  {same}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
