"""The k-means baseline beside scikit-learn's k-means among all pixels, on one thread.

    python benchmarks/kmeans.py --n 3000 --k 40

Both run in this process, one after the other, on simulated pictures of calls. The inertia (squared
distances to the means) says which found the better clusters; the truth, how near they are to it.
"""

import argparse

import numpy as np
from _measure import timed
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from usvbook.repertoire import kmeans_labels
from usvbook.simulated_pictures import simulated_pictures


def inertia(X: np.ndarray, labels: np.ndarray) -> float:
    """Squared distances of the rows to the means of their clusters."""
    return sum(((X[labels == k] - X[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=3000, help="calls")
    parser.add_argument("--k", type=int, default=40, help="units")
    parser.add_argument("--repeats", type=int, default=3, help="seeds")
    args = parser.parse_args()
    X, shape = simulated_pictures(args.n, 46)
    print(f"{args.n} calls, K = {args.k}; processor seconds on one thread")
    for seed in range(args.repeats):
        with threadpool_limits(1):
            plain = timed(KMeans(args.k, n_init=10, random_state=seed).fit_predict, X)
        ours = timed(kmeans_labels, X, args.k, seed)
        better = inertia(X, ours.result) / inertia(X, plain.result)
        found = [adjusted_rand_score(shape, one.result) for one in (plain, ours)]
        print(
            f"seed {seed}: all pixels {plain.cpu:.1f} s, usvbook {ours.cpu:.1f} s, ratio "
            f"{ours.cpu / plain.cpu:.2f}; inertia x {better:.4f}; ARI with the shapes "
            f"{found[0]:.3f}, {found[1]:.3f}"
        )


if __name__ == "__main__":
    main()
