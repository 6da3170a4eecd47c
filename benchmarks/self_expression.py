"""Time of the sparse self-expression against its Gram matrix and against scikit-learn.

    python benchmarks/self_expression.py --n 3000

Everything is measured side by side in one process, on simulated pictures of calls, and printed as
a ratio to the Gram matrix `X @ X.T` in single precision: absolute times of a shared machine mean
little. Times of `self_expression` contain its Gram matrix and its double-precision polish. Peers
are run on a few calls only and extrapolated.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.linear_model import Lasso, orthogonal_mp_gram

from usvbook.self_expression import certificate, gram, self_expression


def pictures(n: int, n_shapes: int = 46, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """Simulated calls: smooth ridges in 64 x 64 pictures, rows of unit length (n, 4096) float32."""
    rng = np.random.default_rng(seed)
    t, height = np.linspace(0, 1, 64), np.linspace(0, 1, 64)[:, None]
    waves = np.cos(np.pi * np.arange(1, 5)[:, None] * t)
    shapes = rng.normal(size=(n_shapes, 4)) * [0.35, 0.25, 0.15, 0.1]
    X = np.empty((n, 4096), np.float32)
    for row in X:
        bends = shapes[rng.integers(n_shapes)] + rng.normal(size=4) * [0.06, 0.05, 0.04, 0.03]
        ridge = bends @ waves
        ridge = 0.1 + 0.8 * (ridge - ridge.min()) / (np.ptp(ridge) + 0.3)
        width = 0.03 * np.exp(0.25 * rng.normal())
        loudness = 1 + 0.4 * np.sin(np.pi * t * rng.uniform(1, 3) + rng.uniform(0, 6))
        image = np.exp(-0.5 * ((height - ridge) / width) ** 2) * loudness
        row[:] = (image + noise * rng.random((64, 64))).ravel()
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def seconds(function, *args, **kwargs):
    """Wall seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - start, result


def line(name: str, wall: float, gram_s: float, note: str = "") -> None:
    print(f"{name:<44}{wall:>10.2f} s{wall / gram_s:>12.2f} x Gram   {note}", flush=True)


def own_lines(X: np.ndarray, args: argparse.Namespace) -> tuple[float, dict]:
    """Medians over the repeats, each repeat with a Gram matrix of its own beside it."""
    methods = ("lasso", "elastic_net", "omp")
    self_expression(X[:64]), self_expression(X[:64], method="omp")  # compile or load
    walls: dict[str, list[float]] = {name: [] for name in ("gram", *methods)}
    found = {}
    for _ in range(args.repeats):
        walls["gram"].append(seconds(gram, X)[0])
        for method in methods:
            wall, found[method] = seconds(
                self_expression, X, args.lam, method, n_nonzero=10, n_jobs=args.n_jobs
            )
            walls[method].append(wall)
    gram_s = float(np.median(walls["gram"]))
    line("X @ X.T, float32", gram_s, gram_s)
    for method in methods:
        note = f"{found[method].nnz / len(X):.1f} coefficients per call"
        line(f"self_expression {method}", float(np.median(walls[method])), gram_s, note)
    return gram_s, found


def peer_lines(X: np.ndarray, args: argparse.Namespace, gram_s: float, found: dict) -> None:
    """The published loop and scikit-learn with a Gram matrix, on `args.columns` calls."""
    n, d = X.shape
    X64 = X.astype(np.float64)
    sampled = np.random.default_rng(0).choice(n, args.columns, replace=False)
    loop_s = cached_s = omp_s = largest = 0.0
    same_atoms = True
    for i in sampled:
        others = np.flatnonzero(np.arange(n) != i)
        atoms, target = np.asfortranarray(X64[others].T), X64[i]
        model = Lasso(args.lam / d, fit_intercept=False, tol=1e-8, max_iter=10**5)
        wall, fit = seconds(model.fit, atoms, target)
        loop_s += wall
        largest = max(largest, np.abs(fit.coef_ - found["lasso"][i, others].toarray()).max())
        products = atoms.T @ atoms
        model.set_params(precompute=products)
        cached_s += seconds(model.fit, atoms, target)[0]
        wall, y = seconds(orthogonal_mp_gram, products, atoms.T @ target, n_nonzero_coefs=10)
        omp_s += wall
        same_atoms &= np.array_equal(others[np.flatnonzero(y)], found["omp"][i].indices)
    scale = n / args.columns
    line("scikit-learn Lasso per call, extrapolated", loop_s * scale, gram_s)
    line("the same with a float64 Gram, extrapolated", cached_s * scale, gram_s)
    line("orthogonal_mp_gram per call, extrapolated", omp_s * scale, gram_s)
    print(f"largest difference to Lasso {largest:.1e}; same OMP atoms: {same_atoms}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=3000, help="calls")
    parser.add_argument("--lam", type=float, default=0.3)
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads of the solver")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--columns", type=int, default=4, help="calls given to the peers")
    parser.add_argument("--certificate", action="store_true", help="check all calls in float64")
    args = parser.parse_args()
    X = pictures(args.n)
    gram_s, found = own_lines(X, args)
    if args.columns:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer_lines(X, args, gram_s, found)
    if args.certificate:
        proof = certificate(X, found["lasso"], args.lam)
        print(
            f"lasso: KKT residual {proof.kkt_residual.max():.1e}, "
            f"relative duality gap {proof.relative_gap.max():.1e} (largest over all calls)"
        )


if __name__ == "__main__":
    main()
