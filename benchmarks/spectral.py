"""Time and residual of the spectral stage against eigsh and scikit-learn.

    python benchmarks/spectral.py --n 9000 --k 60

Everything is measured side by side in one process and on one thread, on the graph of simulated
pictures of calls, and printed as a ratio of CPU times to `eigsh` at tolerance 1e-4: absolute times
of a shared machine mean little. The residual is the largest |M u - mu u| over the eigenvectors u of
length 1 of the symmetric walk M = D^-1/2 A D^-1/2, with mu the Rayleigh quotient; "lowest" is the
smallest of the eigenvalues found: if it is below the others', some have been missed.

Peers of scikit-learn take a minute or more at n = 9000: `--peers none` leaves them out. The "amg"
solver is measured if pyamg is installed.
"""

import argparse
import importlib.util
import warnings

import numpy as np
from _measure import timed
from scipy import sparse
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.cluster._spectral import cluster_qr
from sklearn.manifold import spectral_embedding as peer_embedding
from threadpoolctl import threadpool_limits

from usvbook.self_expression import self_expression
from usvbook.simulated_pictures import simulated_pictures
from usvbook.spectral import normalise_embedding, spectral_embedding
from usvbook.ssc import affinity, cosine_affinity


def graph(args: argparse.Namespace):
    """The affinity and its symmetric walk; the largest component only, so that peers can follow."""
    X, _ = simulated_pictures(args.n, args.shapes, random_state=args.seed)
    if args.method == "cosine":
        A = cosine_affinity(X)
        degree = A.sum(axis=1, dtype=np.float64)
        return A, (A / np.sqrt(degree)[:, None]) / np.sqrt(degree), degree
    A = affinity(self_expression(X, lam=args.lam, method=args.method))
    piece = sparse.csgraph.connected_components(A)[1]
    inside = np.flatnonzero(piece == np.bincount(piece).argmax())
    A = sparse.csr_matrix(A[inside][:, inside])
    degree = np.asarray(A.sum(axis=1)).ravel()
    scale = sparse.diags(1 / np.sqrt(degree))
    return A, sparse.csr_matrix(scale @ A @ scale), degree


def residual(M, U: np.ndarray) -> tuple[float, float]:
    """Largest residual of the columns of U, and their lowest Rayleigh quotient."""
    U = U / np.linalg.norm(U, axis=0)
    turned = M @ U
    mu = np.einsum("ij,ij->j", U, turned)
    return float(np.linalg.norm(turned - U * mu, axis=0).max()), float(mu.min())


class Table:
    """Prints one line per contestant: medians over repeats, ratio to the first."""

    def __init__(self, repeats: int):
        self.repeats, self.first = repeats, 0.0
        print(f"{'':<46}{'CPU s':>8}{'wall s':>8}{'ratio':>7}{'residual':>10}{'lowest':>9}")

    def measure(self, name: str, function, check=None, repeats: int | None = None):
        cpus, walls = [], []
        for _ in range(repeats or self.repeats):
            wall, cpu, result = timed(function)
            cpus.append(cpu)
            walls.append(wall)
        cpu = float(np.median(cpus))
        self.first = self.first or cpu
        found = "{:>10.1e}{:>9.5f}".format(*check(result)) if check else ""
        wall = float(np.median(walls))
        print(f"{name:<46}{cpu:>8.2f}{wall:>8.2f}{cpu / self.first:>7.2f}{found}", flush=True)
        return result


def eigensolvers(table: Table, A, M, degree: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """eigsh and ours; returns our coordinates."""
    start = np.random.default_rng(args.seed).uniform(-1, 1, A.shape[0])

    def check_own(found):
        return residual(M, found.embedding * np.sqrt(degree)[:, None])

    for tol, kind in ((1e-4, np.float64), (1e-4, np.float32), (1e-9, np.float64)):
        if kind == np.float32 or tol == 1e-4 or sparse.issparse(M):
            walk = M.astype(kind)
            table.measure(
                f"eigsh, tol {tol:g}, {kind.__name__}",
                lambda walk=walk, tol=tol: eigsh(
                    walk, args.k, which="LA", tol=tol, v0=start.astype(walk.dtype)
                ),
                lambda found: residual(M, found[1]),
            )
    spectral_embedding(A[:600][:, :600], 8)  # compile or load
    for tol in (1e-4, 1e-6, 1e-7):
        own = table.measure(
            f"usvbook spectral_embedding, tol {tol:g}",
            lambda tol=tol: spectral_embedding(A, args.k, args.seed, tol=tol),
            check_own,
        )
    return own.embedding


def peers(table: Table, A, M, degree: np.ndarray, args: argparse.Namespace) -> None:
    """scikit-learn's spectral_embedding with each solver, and its SpectralClustering."""
    solvers = [("arpack", "auto"), ("lobpcg", "auto"), ("lobpcg", 1e-4)]
    if importlib.util.find_spec("pyamg"):
        solvers.append(("amg", "auto"))
    for solver, tol in solvers:
        table.measure(
            f"sklearn spectral_embedding, {solver}, tol {tol}",
            lambda solver=solver, tol=tol: peer_embedding(
                A,
                n_components=args.k,
                eigen_solver=solver,
                eigen_tol=tol,
                random_state=args.seed,
                drop_first=False,
            ),
            lambda E: residual(M, E * np.sqrt(degree)[:, None]),
            repeats=1,
        )
    table.measure(
        "sklearn SpectralClustering, end to end",
        lambda: SpectralClustering(
            args.k, affinity="precomputed", random_state=args.seed
        ).fit_predict(A),
        repeats=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=9000, help="calls")
    parser.add_argument("--k", type=int, default=60, help="eigenvectors and units")
    parser.add_argument("--shapes", type=int, default=46, help="shapes of the simulated calls")
    parser.add_argument(
        "--method", default="lasso", choices=["lasso", "omp", "elastic_net", "cosine"]
    )
    parser.add_argument("--lam", type=float, default=0.3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", default="all", choices=["all", "none"])
    args = parser.parse_args()
    A, M, degree = graph(args)
    edges = (A > 0).sum() / A.shape[0]
    print(f"{A.shape[0]} calls in the largest component, {edges:.1f} neighbours each, K = {args.k}")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Table(args.repeats)
        E = normalise_embedding(eigensolvers(table, A, M, degree, args))
        for n_init in (1, 10):
            table.measure(
                f"k-means, n_init {n_init}",
                lambda n_init=n_init: KMeans(
                    args.k, n_init=n_init, random_state=args.seed
                ).fit_predict(E),
                repeats=1,
            )
        table.measure("cluster_qr", lambda: cluster_qr(E), repeats=1)
        if args.peers == "all":
            peers(table, A, M, degree, args)


if __name__ == "__main__":
    main()
