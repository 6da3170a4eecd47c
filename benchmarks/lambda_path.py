"""Time of the lambda path, and of any lambda from it, against fresh solutions and scikit-learn.

    python benchmarks/lambda_path.py --n 2000

Everything is measured side by side in one process, on simulated pictures of calls. Wall times of a
shared machine mean little; CPU times (all threads together) and ratios mean more. The path contains
its Gram matrix. scikit-learn's `lars_path` is run on a few calls only and extrapolated.
"""

import argparse
import warnings

import numpy as np
from _measure import timed
from sklearn.linear_model import lars_path

from usvbook.lambda_path import LassoPath, lasso_path
from usvbook.self_expression import gram, self_expression
from usvbook.simulated_pictures import simulated_pictures
from usvbook.sparse_solver import certificate


def line(name: str, wall: float, cpu: float | None = None, note: str = "") -> None:
    used = "" if cpu is None else f"{cpu:>10.2f} s CPU"
    print(f"{name:<40}{wall:>10.2f} s{used:<16}   {note}", flush=True)


def path_lines(X: np.ndarray, args: argparse.Namespace) -> LassoPath:
    """The Gram matrix and the path, medians over the repeats."""
    small = X[: min(len(X), 200)]
    lasso_path(small).at(args.lam_min), self_expression(small)  # compile or load
    grams, paths = [], []
    for _ in range(args.repeats):
        grams.append(timed(gram, X)[:2])
        *times, path = timed(lasso_path, X, args.lam_min, n_jobs=args.n_jobs)
        paths.append(times)
    line("X @ X.T, float32", *np.median(grams, axis=0))
    note = f"{path.breakpoints.mean():.1f} breakpoints per call, {path.nbytes / 1e6:.1f} MB"
    line(f"lasso_path down to {args.lam_min:g}", *np.median(paths, axis=0), note)
    return path


def slider_lines(X: np.ndarray, path: LassoPath, args: argparse.Namespace) -> None:
    """Each lambda from the path and afresh, and how far the two are apart."""
    rng = np.random.default_rng(0)
    own = rng.uniform(path.lam_min, 0.9, len(X))
    for name, lam in [*((f"{lam:g}", lam) for lam in (path.lam_min, 0.2, 0.3, 0.5)), ("own", own)]:
        walls = [timed(path.at, lam)[0] for _ in range(5)]
        C = path.at(lam)
        fresh_s, _, fresh = timed(self_expression, X, lam=lam, n_jobs=args.n_jobs)
        text = (
            f"lam {name:<5} from the path {1000 * np.median(walls):7.2f} ms "
            f"(slowest {1000 * max(walls):.2f}), afresh {fresh_s:6.2f} s, "
            f"largest difference {abs(C - fresh).max():.1e}, {C.nnz / len(X):.2f} coefficients"
        )
        if args.certificate:
            text += f", KKT residual {certificate(X, C, lam).kkt_residual.max():.1e}"
        print(text, flush=True)


def peer_line(X: np.ndarray, path: LassoPath, args: argparse.Namespace) -> None:
    """scikit-learn's homotopy with a Gram matrix of its own, on `args.columns` calls."""
    n, d = X.shape
    X64, total, worst = X.astype(float), 0.0, 0.0
    for i in np.random.default_rng(0).choice(n, args.columns, replace=False):
        others = np.arange(n) != i
        atoms, target = X64[others].T, X64[i]
        wall, _, (alphas, _, coefs) = timed(
            lars_path, atoms, target, method="lasso", alpha_min=path.lam_min / d
        )
        total += wall
        lams, C = path.call(i)
        same = len(lams) == len(alphas) and np.allclose(lams, alphas * d, atol=1e-7)
        worst = max(worst, np.abs(C[:, others] - coefs.T).max() if same else np.inf)
    note = f"largest difference at any breakpoint {worst:.1e}"
    line("lars_path per call, extrapolated", total * n / args.columns, None, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=2000, help="calls")
    parser.add_argument("--lam-min", type=float, default=0.15, help="where the path ends")
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--columns", type=int, default=4, help="calls given to scikit-learn")
    parser.add_argument("--certificate", action="store_true", help="check all calls in float64")
    args = parser.parse_args()
    X, _ = simulated_pictures(args.n, n_shapes=46)
    path = path_lines(X, args)
    slider_lines(X, path, args)
    if args.columns:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer_line(X, path, args)


if __name__ == "__main__":
    main()
