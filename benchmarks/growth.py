"""How time and memory of the self-expression grow with the number of calls.

    python benchmarks/growth.py                       n = 1000, 3000, 9000, 24000 and 100000
    python benchmarks/growth.py --n 1000 3000 --csv FILE

Each size runs in a process of its own, on simulated pictures of calls. `gram_s` is the Gram matrix
`X @ X.T` in single precision, timed just before `solve_s`, which contains another one; both are
medians over the repeats. Memory is what the solve adds to the process at its peak. Above
`--whole-up-to` calls the solve works in blocks of rows and is run on one block of 2,048 calls only;
time (of the Gram matrix too, by half of a product of that block with all calls) is extrapolated to
all calls, and the table says so. With `--csv` the table is also written to a file: `nbs/growth.csv`
is one, and a figure of the notebooks is drawn from it.
"""

import argparse
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from _measure import Peak, timed

from usvbook.self_expression import _block, _problem, gram, self_expression
from usvbook.simulated_pictures import simulated_pictures

BLOCK = 2048


def whole(X: np.ndarray, repeats: int) -> dict:
    """Times and memory with the whole Gram matrix."""
    grams, solves = [], []
    with Peak() as peak:
        self_expression(X, n_jobs=-1, max_memory_bytes=4 * len(X) ** 2)
    for _ in range(repeats):
        for function, times in ((gram, grams), (self_expression, solves)):
            options = {"n_jobs": -1, "max_memory_bytes": 4 * len(X) ** 2}
            given = options if function is self_expression else {}
            times.append(timed(function, X, **given).wall)
    return {
        "gram_s": np.median(grams),
        "solve_s": np.median(solves),
        "memory_mb": peak.most / 1e6,
        "how": "whole",
    }


def blocked(X: np.ndarray) -> dict:
    """Times of one block of rows, extrapolated to all; memory as it is."""
    n, d = X.shape
    problem = _problem(X, 0.3, "lasso", 10, 0.1)
    rows = np.random.default_rng(0).choice(n, BLOCK, replace=False)
    with Peak() as peak:
        room = np.empty((BLOCK, d), np.float32), np.empty((BLOCK, n), np.float32)
        solve_s = timed(_block, problem, rows, room, -1).wall
    product_s = timed(np.matmul, X[:BLOCK], X.T, out=room[1]).wall
    return {
        "gram_s": product_s / 2 * n / BLOCK,
        "solve_s": solve_s * n / BLOCK,
        "memory_mb": peak.most / 1e6,
        "how": f"blocks, extrapolated from {BLOCK} calls",
    }


def one(n: int, repeats: int, whole_up_to: int) -> None:
    """Measure one size and print its line as CSV."""
    X = simulated_pictures(n, 46)[0]
    self_expression(X[:64])  # compile or load
    row = whole(X, repeats) if n <= whole_up_to else blocked(X)
    row = {"n": n, "pictures_mb": X.nbytes / 1e6, "gram_mb": 4 * n * n / 1e6, **row}
    row["ratio"] = row["solve_s"] / row["gram_s"]
    pd.DataFrame([row]).to_csv(sys.stdout, index=False, float_format="%.4g")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[1000, 3000, 9000, 24_000, 100_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole-up-to", type=int, default=24_000)
    parser.add_argument("--csv", type=Path, help="also write the table here")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return one(args.n[0], args.repeats, args.whole_up_to)
    tables = []
    for n in args.n:
        options = ["--one", "--n", n, "--repeats", args.repeats, "--whole-up-to", args.whole_up_to]
        found = subprocess.run(
            [sys.executable, __file__, *map(str, options)], stdout=subprocess.PIPE, check=True
        )
        tables.append(pd.read_csv(io.BytesIO(found.stdout)))
        print(tables[-1].to_string(index=False, header=len(tables) == 1), flush=True)
    table = pd.concat(tables)
    if args.csv:
        table.to_csv(args.csv, index=False, float_format="%.4g")
        print(f"written to {args.csv}")


if __name__ == "__main__":
    main()
