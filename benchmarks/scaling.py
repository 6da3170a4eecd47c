"""Time, memory and traffic of each stage as the number of calls grows, here and on a cluster.

    python benchmarks/scaling.py --csv nbs/tutorials/scaling.csv
    python benchmarks/scaling.py --n 1000 2000 --workers 1 2

Two tables. The first is of this machine with all its processors: each stage at each number of
calls, which has a process of its own. Detection and pictures (rooms 02 and 03) get synthetic
recordings at 250 kHz with 60 calls a minute, a tenth as many calls; the other stages get simulated
pictures (100 shapes). Memory is what a stage adds to the process at its peak; the gaps are relative
duality gaps of 200 calls, judged against all others (`certificate`). The second table is of Dask
clusters within this machine, each worker a process with one thread, beside no cluster and one
thread; `sent_mb` is what the loopback interface carried meanwhile, so nothing else should run, and
`worker_mb` the most memory that one worker held at the end of a stage. With `--csv` both are also
written to one file, from which `tutorials/scaling` draws its figures. The whole takes half an hour.
"""

import argparse
import contextlib
import ctypes
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from _measure import Peak, timed
from streaming import write_recording
from threadpoolctl import threadpool_limits

from usvbook.assignment import settle
from usvbook.metrics import quality
from usvbook.outliers import max_similarity
from usvbook.preprocessing import CallImages
from usvbook.segmentation import MultitaperSegmenter, segment_recordings
from usvbook.self_expression import certificate, self_expression
from usvbook.simulated_pictures import simulated_pictures
from usvbook.spectral import spectral_embedding, spectral_labels
from usvbook.ssc import affinity
from usvbook.work_area import KeptSegmenter

K = 40  # units
NEAR = 60  # neighbours in the approximate mode
BUDGET = 60 * 10**6  # bytes for the Gram matrix in the mode that works in blocks
PER_MINUTE = 60  # calls in the recordings


def measured(n: int, stage: str, work: Callable) -> tuple[dict, object]:
    """What a stage took, as a row of the table, and its result."""
    with contextlib.suppress(OSError):  # elsewhere than on Linux, memory may seem too little
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free goes back, and counts when used
    with Peak() as peak:
        wall, cpu, result = timed(work)
    return {"n": n, "stage": stage, "s": wall, "cpu_s": cpu, "mb": peak.most / 1e6}, result


def gaps(X: np.ndarray, C: object) -> dict[str, float]:
    """How far 200 calls are from the exact answer at most: mean and largest."""
    rows = np.random.default_rng(0).choice(len(X), min(200, len(X)), replace=False)
    gap = certificate(X, C, 0.3, rows=rows).relative_gap
    return {"mean_gap": gap.mean(), "max_gap": gap.max()}


def stages(n: int) -> list[dict]:
    """Each stage at one size."""
    rows = []

    def take(stage: str, work: Callable, n: int = n) -> object:
        row, result = measured(n, stage, work)
        rows.append(row)
        return result

    minutes = max(n // 600, 1)
    with tempfile.TemporaryDirectory() as name:
        path, area = write_recording(Path(name) / "a.wav", minutes, PER_MINUTE), Path(name) / "work"
        area.mkdir()
        segmenter = KeptSegmenter(MultitaperSegmenter(), area)
        calls = take(
            "02 calls", lambda: segment_recordings(path, segmenter).calls, PER_MINUTE * minutes
        )
        take("03 pictures", lambda: CallImages().transform(calls), PER_MINUTE * minutes)
    X = simulated_pictures(n, 100)[0]
    self_expression(X[:64], n_neighbours=8)  # compile or load
    self_expression(X[:64])
    take("04 outlier split", lambda: max_similarity(X))
    whole = {"n_jobs": -1, "max_memory_bytes": 4 * n * n}
    C = take("04c exact", lambda: self_expression(X, **whole))
    rows[-1] |= gaps(X, C)
    if 4 * n * n > BUDGET:
        blocks = {"n_jobs": -1, "max_memory_bytes": BUDGET}
        take("04c exact, in blocks", lambda: self_expression(X, **blocks))
    near = take("04c neighbours", lambda: self_expression(X, n_neighbours=NEAR, n_jobs=-1))
    rows[-1] |= gaps(X, near)
    A = take("05 affinity", lambda: affinity(C))
    E = take("04e embedding", lambda: spectral_embedding(A, K, 0))
    labels = take("04e k-means", lambda: spectral_labels(E.embedding, K, E.isolated, 10, 0))
    labels = take("06 assignment", lambda: settle(X, labels).labels)
    take("07 metrics", lambda: quality(X, labels))
    return rows


@contextlib.contextmanager
def workers(count: int) -> Iterator[Callable[[], float]]:
    """A cluster of so many processes, or none; yields what asks for the most memory of one."""
    if not count:
        with threadpool_limits(1):
            yield lambda: psutil.Process().memory_info().rss / 1e6
        return
    from distributed import LocalCluster

    from usvbook.workers import cluster

    local = LocalCluster(
        n_workers=count, threads_per_worker=1, dashboard_address=None, memory_limit=0
    )
    pids = [worker.process.pid for worker in local.workers.values()]
    with threadpool_limits(1), cluster(local.scheduler_address):
        yield lambda: max(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6
    local.close()


def on_workers(n: int, count: int) -> list[dict]:
    """The stages that a cluster shares, with so many workers (0: none)."""
    X, rows = simulated_pictures(n, 100)[0], []
    with tempfile.TemporaryDirectory() as name, workers(count) as memory_mb:
        files = [Path(name) / f"{k}.wav" for k in range(max(n // 600, 1))]
        minutes = [write_recording(file, 1, PER_MINUTE, k) for k, file in enumerate(files)]

        def take(stage: str, work: Callable, n: int = n) -> None:
            before = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
            row, _ = measured(n, stage, work)
            sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before
            own = row | {"workers": count, "sent_mb": sent / 1e6, "worker_mb": memory_mb()}
            rows.append({name: own[name] for name in ("workers", *row, "sent_mb", "worker_mb")})

        max_similarity(X[:400])  # every worker imports and compiles, or loads what was compiled
        self_expression(X[:400], max_memory_bytes=10**6)
        self_expression(X[:400], n_neighbours=8)
        segment_recordings(minutes[: count or 1])
        area = Path(name) / "work"
        area.mkdir()
        segmenter = KeptSegmenter(MultitaperSegmenter(), area)
        take("02 calls", lambda: segment_recordings(minutes, segmenter), PER_MINUTE * len(minutes))
        take("04 outlier split", lambda: max_similarity(X))
        take("04c exact", lambda: self_expression(X, max_memory_bytes=4 * n * n))
        take("04c neighbours", lambda: self_expression(X, n_neighbours=NEAR))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[1000, 2000, 4000, 8000, 16_000])
    parser.add_argument("--up-to", type=int, default=8000, help="calls on clusters; from 2000")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--csv", type=Path, help="also write both tables here")
    parser.add_argument("--one", type=int, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        rows = stages(*args.one) if len(args.one) == 1 else on_workers(*args.one)
        return pd.DataFrame(rows).to_csv(sys.stdout, index=False, float_format="%.4g")
    alone = [(n,) for n in args.n]
    shared = [(n, count) for n in args.n if 2000 <= n <= args.up_to for count in args.workers]
    tables = []
    for job in (*alone, *shared):
        command = [sys.executable, __file__, "--one", *map(str, job)]
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        tables.append(pd.read_csv(io.BytesIO(told)))
        print(tables[-1].to_string(index=False), flush=True)
    if args.csv:
        pd.concat(tables).to_csv(args.csv, index=False, float_format="%.4g")
        print(f"written to {args.csv}")


if __name__ == "__main__":
    main()
