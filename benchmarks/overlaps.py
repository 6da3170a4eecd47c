"""How well overlapping calls are found: precision, recall, false alarms by level and meeting.

    python benchmarks/overlaps.py
    USVBOOK_DATA=FOLDER python benchmarks/overlaps.py    also false alarms on real recordings

Synthetic recordings of two animals, in which 30 % of the calls overlap with another, movement and
bursts behind them; seeds that were not used to fit the weights. A found call is an overlap if two
true calls sound at once in it for 3 ms or more. One thread; a minute of processor time.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import pandas as pd
import soundfile as sf

from usvbook.overlaps import mark_overlaps
from usvbook.recordings import Recording
from usvbook.segmentation import MultitaperSegmenter
from usvbook.synthesis import synthesize

LEAST_S = 0.003  # true calls that sound at once for less do not count


def meeting(first: Any, second: Any) -> str:
    """Do two calls cross while they sound at once, share frequencies, or lie apart?"""
    start = max(first.onset_s, second.onset_s)
    t = np.arange(start, min(first.offset_s, second.offset_s), 0.0005)
    a, b = (np.interp(t, one.times_s, one.freqs_hz) for one in (first, second))
    if (a > b).any() and (a < b).any():
        return "cross"
    low, high = (a, b) if a.mean() < b.mean() else (b, a)
    return "share" if low.max() >= high.min() else "apart"


def true_overlap(call: Any, truth: pd.DataFrame) -> tuple[float, str]:
    """Seconds for which two true calls sound at once in a found one, and how they meet."""
    inside = truth[(truth.onset_s < call.offset_s) & (truth.offset_s > call.onset_s)]
    rows, longest = list(inside.itertuples()), (0.0, "")
    for k, first in enumerate(rows):
        for second in rows[k + 1 :]:
            shared = min(first.offset_s, second.offset_s) - max(first.onset_s, second.onset_s)
            if shared > max(longest[0], LEAST_S):
                longest = (shared, meeting(first, second))
    return longest


def found_calls(folder: Path, seconds: float, seeds: int) -> Iterator[dict[str, Any]]:
    """A row for each found call of the synthetic recordings."""
    path = folder / "x.wav"
    for snr_db in (10, 15, 20, 25):
        for seed in range(seeds):
            x, truth = synthesize(
                seconds, round(4 * seconds), overlap=0.3, snr_db=snr_db, snr_spread_db=2,
                animal=["m1", "m2"], bursts=0.3, random_state=7_000 + 100 * snr_db + seed,
            )  # fmt: skip
            sf.write(path, x, 250_000, "FLOAT")
            calls = MultitaperSegmenter().segment(Recording(path))
            mark_overlaps(calls)
            for call in calls.table.itertuples():
                shared, how = true_overlap(call, truth)
                sure = call.n_sources_confidence
                p = sure if call.n_sources > 1 else 1 - sure
                row = {"snr_db": snr_db, "shared_s": shared, "meeting": how, "p": p}
                yield row | {"marked": call.n_sources > 1, "true": shared > 0}


def rates(rows: pd.DataFrame) -> dict[str, Any]:
    """Precision and recall of the overlaps, and the share of single calls that are marked."""
    hits = int((rows.marked & rows.true).sum())
    singles = rows[~rows.true]
    return {
        "calls": len(rows),
        "overlaps": int(rows.true.sum()),
        "marked": int(rows.marked.sum()),
        "precision": hits / max(int(rows.marked.sum()), 1),
        "recall": hits / max(int(rows.true.sum()), 1),
        "single calls marked": singles.marked.mean() if len(singles) else np.nan,
    }


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """A table with a title."""
    print(f"\n{title}\n{pd.DataFrame(rows).round(3).to_string(index=False)}", flush=True)


def real_rows() -> list[dict[str, Any]]:
    """How many calls of recordings in which nobody has marked an overlap are marked as one."""
    rows = []
    for path in sorted(Path(os.environ["USVBOOK_DATA"], "usv").glob("*.flac")):
        table = mark_overlaps(MultitaperSegmenter().segment(Recording(path)))
        row = {"recording": path.name, "calls": len(table)}
        for least in (0.5, 0.7, 0.8, 0.9):
            sure = (table.n_sources > 1) & (table.n_sources_confidence >= least)
            row[f"from {least}"] = int(sure.sum())
        rows.append(row)
    sums = {name: sum(row[name] for row in rows) for name in rows[0] if name != "recording"}
    return [*rows, {"recording": "together", **sums}]


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=24.0, help="of each recording")
    parser.add_argument("--seeds", type=int, default=2, help="recordings at each level")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = pd.DataFrame(found_calls(Path(folder), args.seconds, args.seeds))
    levels = [{"level (dB)": level, **rates(one)} for level, one in rows.groupby("snr_db")]
    show("By level of the calls above the background", levels)
    kinds = rows[rows.true & (rows.snr_db >= 20)].groupby("meeting")
    meetings = [
        {"meeting": how, "overlaps": len(one), "recall": one.marked.mean()} for how, one in kinds
    ]
    show("By how the two calls meet, 20 and 25 dB", meetings)
    edges = [LEAST_S, 0.01, 0.02, 0.04, 1.0]
    loud = rows[rows.true & (rows.snr_db >= 20)]
    parts = loud.groupby(pd.cut(loud.shared_s * 1000, [1000 * e for e in edges]), observed=True)
    times = [
        {"at once (ms)": str(k), "overlaps": len(o), "recall": o.marked.mean()} for k, o in parts
    ]
    show("By how long they sound at once, 20 and 25 dB", times)
    bins = pd.cut(rows.p, [-0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    sure = [
        {"confidence of two": str(k), "calls": len(o), "are two": o.true.mean()}
        for k, o in rows.groupby(bins, observed=True)
    ]
    show("Calibration, all levels", sure)
    if os.environ.get("USVBOOK_DATA"):
        show("Real recordings (some of these calls may be overlaps), by confidence", real_rows())


if __name__ == "__main__":
    main()
