"""Time of the sparse self-expression against its Gram matrix, and against other solvers.

    python benchmarks/self_expression.py --n 9000
    python benchmarks/self_expression.py --n 9000 --columns 0 --certificate --memory --budget 300
    python benchmarks/self_expression.py --cold

Everything is measured side by side in one process, on simulated pictures of calls, and printed as
a ratio to the Gram matrix `X @ X.T` in single precision: absolute times of a shared machine mean
little. Times of `self_expression` contain its Gram matrix and its polish in double precision. Other
solvers run on a few calls only, and are extrapolated to all; `spams-bin`, `celer` and `skglm` are
left out, and said to be, where they are not installed.
"""

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from _measure import Peak
from sklearn.linear_model import Lasso, orthogonal_mp_gram

from usvbook.self_expression import certificate, gram, self_expression
from usvbook.simulated_pictures import simulated_pictures

METHODS = ("lasso", "elastic_net", "omp")


def seconds(function: Callable, *args: Any, **kwargs: Any) -> tuple[float, Any]:
    """Wall seconds of one call, and what it returned."""
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - start, result


def line(name: str, wall: float, gram_s: float, note: str = "") -> None:
    print(f"{name:<44}{wall:>11.2f} s{wall / gram_s:>12.2f} x Gram   {note}", flush=True)


def own_lines(X: np.ndarray, args: argparse.Namespace) -> tuple[float, dict]:
    """Medians over the repeats; each method stands beside a Gram matrix timed just before it."""
    for method in METHODS:  # compile or load
        self_expression(X[:64], lam=args.lam, method=method, device=args.device)
    found, ratios, walls, grams = {}, {}, {}, []
    for method in METHODS:
        ratios[method], walls[method] = [], []
        for _ in range(args.repeats):
            grams.append(seconds(gram, X)[0])
            wall, found[method] = seconds(
                self_expression,
                X,
                lam=args.lam,
                method=method,
                n_jobs=args.n_jobs,
                device=args.device,
            )
            walls[method].append(wall)
            ratios[method].append(wall / grams[-1])
    gram_s = float(np.median(grams))
    line("X @ X.T, float32", gram_s, gram_s)
    for method in METHODS:
        note = f"{found[method].nnz / len(X):.1f} coefficients per call; ratios side by side: "
        note += f"median {np.median(ratios[method]):.2f}, largest {max(ratios[method]):.2f}"
        line(f"self_expression {method}", float(np.median(walls[method])), gram_s, note)
    return gram_s, found


def peers(lam: float, d: int) -> dict[str, Callable]:
    """name -> function(atoms (d, n) float64, target (d,), Gram matrix (n, n)) -> coefficients."""
    options = dict(fit_intercept=False, tol=1e-4)
    found: dict[str, Callable] = {
        "scikit-learn Lasso (the published loop)": lambda D, s, G: Lasso(lam / d).fit(D, s).coef_,
        "scikit-learn Lasso, given the Gram matrix": lambda D, s, G: (
            Lasso(lam / d, precompute=G, **options).fit(D, s).coef_
        ),
    }
    for package, model in (("celer", "Lasso"), ("skglm", "Lasso")):
        try:
            peer = getattr(importlib.import_module(package), model)
        except ImportError:
            print(f"{package}: not installed, left out")
            continue
        found[package] = lambda D, s, G, peer=peer: peer(lam / d, **options).fit(D, s).coef_
    try:
        spams = importlib.import_module("spams")
    except ImportError:
        print("spams-bin: not installed, left out")
        return found
    found["spams, given the Gram matrix"] = lambda D, s, G: (
        spams.lasso(
            np.asfortranarray(s[:, None]), Q=G.T, q=np.asfortranarray((D.T @ s)[:, None]),
            lambda1=lam, lambda2=0.0, mode=spams.PENALTY,
        ).toarray().ravel()
    )  # fmt: skip
    return found


def peer_lines(X: np.ndarray, args: argparse.Namespace, gram_s: float, found: dict) -> None:
    """Other solvers on `args.columns` calls, extrapolated to all."""
    n, d = X.shape
    X64 = X.astype(np.float64)
    solvers = peers(args.lam, d)
    walls = {name: [] for name in solvers}
    small = np.asfortranarray(X64[1:50].T)
    for solve in solvers.values():  # compile or load
        solve(small, X64[0], small.T @ small)
    apart = {name: 0.0 for name in solvers}
    atoms_equal, omp = [], []
    for i in np.random.default_rng(0).choice(n, args.columns, replace=False):
        others = np.flatnonzero(np.arange(n) != i)
        D = np.asfortranarray(X64[others].T)
        G = np.ascontiguousarray(D.T @ D)
        for name, solve in solvers.items():
            wall, coefficients = seconds(solve, D, X64[i], G)
            walls[name].append(wall)
            difference = np.abs(coefficients - found["lasso"][i, others].toarray()).max()
            apart[name] = max(apart[name], difference)
        wall, y = seconds(orthogonal_mp_gram, G, D.T @ X64[i], n_nonzero_coefs=10)
        omp.append(wall)
        atoms_equal.append(np.array_equal(others[np.flatnonzero(y)], found["omp"][i].indices))
    for name, times in walls.items():
        note = f"largest difference to ours {apart[name]:.0e}"
        note += ", it adds an intercept" if "published" in name else ""
        line(f"{name}, extrapolated", n * float(np.mean(times)), gram_s, note)
    note = f"same atoms as ours on all: {all(atoms_equal)}"
    line("orthogonal_mp_gram, extrapolated", n * float(np.mean(omp)), gram_s, note)


def budget_line(X: np.ndarray, args: argparse.Namespace, gram_s: float, whole: Any) -> None:
    """Blocks of rows: time, and the distance to the answer from the whole Gram matrix."""
    budget = args.budget * 10**6
    options = dict(n_jobs=args.n_jobs, max_memory_bytes=budget)
    wall, C = seconds(self_expression, X, lam=args.lam, **options)
    same = np.array_equal(C.indices, whole.indices) and np.array_equal(C.indptr, whole.indptr)
    mode = "blocks" if 4 * len(X) ** 2 > budget else "whole"
    line(f"self_expression lasso, {args.budget} MB ({mode})", wall, gram_s)
    print(f"same support: {same}; largest difference {abs(C - whole).max():.1e}")


def memory_lines(args: argparse.Namespace) -> None:
    """Peak memory beside what stood before, each in a process of its own."""
    budgets = [None, *([args.budget] if args.budget else [])]
    for budget in budgets:
        code = f"import self_expression as benchmark; benchmark.peak_line({args.n}, {budget})"
        subprocess.run(
            [sys.executable, "-c", code], cwd=os.path.dirname(__file__) or ".", check=True
        )


def peak_line(n: int, budget_mb: int | None) -> None:
    """Print the peak memory of one solve, in units of what it is allowed to be."""
    X = simulated_pictures(n, 46)[0]
    self_expression(X[:64])
    with Peak() as peak:
        self_expression(X, n_jobs=-1, max_memory_bytes=budget_mb and budget_mb * 10**6)
    used = peak.most + X.nbytes
    allowed = (budget_mb * 10**6 if budget_mb else 4 * n * n) + 3 * X.nbytes
    print(
        f"peak memory, budget {budget_mb or 'none'}: {used / 1e6:.0f} MB with X "
        f"({X.nbytes / 1e6:.0f} MB) = {used / allowed:.2f} of "
        f"{'the budget' if budget_mb else '4 n^2'} + 3 X"
    )


def cold_lines() -> None:
    """First solve with an empty cache of compiled code, and in a second process."""
    code = (
        "import time; start = time.perf_counter();"
        "import numpy as np; from usvbook.self_expression import self_expression;"
        "X = np.random.default_rng(0).random((200, 4096), np.float32);"
        "X /= np.linalg.norm(X, axis=1, keepdims=True);"
        "ready = time.perf_counter();"
        "self_expression(X, lam=0.9); self_expression(X, method='omp');"
        "first = time.perf_counter();"
        "self_expression(X, lam=0.9); self_expression(X, method='omp');"
        "again = time.perf_counter();"
        "print(f'imports {ready - start:.2f} s, LASSO and OMP {first - ready:.2f} s, again '"
        "f'{again - first:.2f} s; processor time in all {time.process_time():.2f} s')"
    )
    with tempfile.TemporaryDirectory() as cache:
        for name in ("empty cache", "second process"):
            print(f"{name}: ", end="", flush=True)
            environment = os.environ | {"NUMBA_CACHE_DIR": cache}
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=3000, help="calls")
    parser.add_argument("--lam", type=float, default=0.3)
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads of the solver")
    parser.add_argument("--device", help="torch device, as in self_expression")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--columns", type=int, default=4, help="calls given to other solvers")
    parser.add_argument("--certificate", action="store_true", help="check all calls in float64")
    parser.add_argument("--budget", type=int, help="also within so many MB")
    parser.add_argument("--memory", action="store_true", help="peak memory, in fresh processes")
    parser.add_argument("--cold", action="store_true", help="only the time to compile")
    args = parser.parse_args()
    if args.cold:
        return cold_lines()
    X = simulated_pictures(args.n, 46)[0]
    gram_s, found = own_lines(X, args)
    if args.columns:
        with warnings.catch_warnings(action="ignore"):
            peer_lines(X, args, gram_s, found)
    if args.certificate:
        proof = certificate(X, found["lasso"], args.lam)
        print(
            f"lasso, all {args.n} calls: KKT residual {proof.kkt_residual.max():.1e}, "
            f"relative duality gap {proof.relative_gap.max():.1e}"
        )
    if args.budget:
        budget_line(X, args, gram_s, found["lasso"])
    if args.memory:
        memory_lines(args)


if __name__ == "__main__":
    main()
