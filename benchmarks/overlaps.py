"""How well overlapping calls are found, and counted: marked, taken apart, put into units.

    python benchmarks/overlaps.py
    USVBOOK_DATA=FOLDER python benchmarks/overlaps.py    also real recordings
    python benchmarks/overlaps.py --whole-way            counts of units against the truth
    python benchmarks/overlaps.py --trust                what trust is worth
    python benchmarks/overlaps.py --fit-trust            its weights again, for another network

Found: synthetic recordings of two animals, in which 30 % of the calls overlap with another,
movement and bursts behind them; seeds that were not used to fit the weights. A found call is an
overlap if two true calls sound at once in it for 3 ms or more. The whole way: a repertoire of calls
that do not overlap, and recordings of the same animals in which 10 % of the calls do. One thread;
each part takes one to five minutes of processor time.
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
from scipy.optimize import linear_sum_assignment

from usvbook.calls import Calls
from usvbook.deep_clustering import stft
from usvbook.overlap_parts import (
    Apart,
    cut_overlap,
    found_in_place,
    in_place_of_overlaps,
    quiet_gaps,
    separate_overlaps,
    take_apart,
    voices_of,
)
from usvbook.overlaps import mark_overlaps
from usvbook.preprocessing import CallImages
from usvbook.recordings import Recording
from usvbook.repertoire import Repertoire
from usvbook.segmentation import MultitaperSegmenter
from usvbook.separation import ideal_masks
from usvbook.shipped_networks import choose_model
from usvbook.synthesis import Sources, draw_animal, synthesize

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


def real_mixtures(folder: Path) -> list[dict[str, Any]]:
    """How many overlaps made of two real calls of one recording are marked."""
    rows, fade, segmenter = [], 500, MultitaperSegmenter()
    for path in sorted(Path(os.environ["USVBOOK_DATA"], "usv").glob("rec_*.flac")):
        recording = Recording(path)
        x, rate, own = recording.read(), recording.samplerate_hz, segmenter.segment(recording).table
        times, y, made = own[["onset_s", "offset_s"]].to_numpy(), x.copy(), []
        rng = np.random.default_rng(len(own) + 1_000)
        for i in range(0, len(own), 2):
            j = int(rng.choice([k for k in range(len(own)) if k != i]))
            sound = x[
                max(int((times[j, 0] - 0.004) * rate), 0) : int((times[j, 1] + 0.004) * rate)
            ].copy()
            onset = times[i, 0] + rng.uniform(0.1, 0.7) * (times[i, 1] - times[i, 0])
            limit = times[i + 1, 0] if i + 1 < len(own) else recording.duration_s
            shared = min(times[i, 1], onset + times[j, 1] - times[j, 0]) - onset
            if (
                len(sound) < 2 * fade
                or onset + len(sound) / rate > limit - 0.02
                or shared <= LEAST_S
            ):
                continue
            sound[:fade] *= np.linspace(0, 1, fade)
            sound[-fade:] *= np.linspace(1, 0, fade)
            y[int((onset - 0.004) * rate) :][: len(sound)] += sound
            made.append(onset)
        sf.write(folder / "y.wav", y, rate, "FLOAT")
        table = mark_overlaps(segmenter.segment(Recording(folder / "y.wav")))
        hits = [
            bool((table.n_sources[(table.onset_s < t) & (table.offset_s > t)] > 1).any())
            for t in made
        ]
        rows.append({"recording": path.name, "overlaps": len(made), "marked": sum(hits)})
    sums = {name: sum(row[name] for row in rows) for name in ("overlaps", "marked")}
    return [*rows, {"recording": "together", **sums}]


def calls_alone(folder: Path, truth: pd.DataFrame, sources: Sources) -> Calls:
    """Each true call, measured where nobody else calls: in the order of the truth."""
    parts, rows = [], []
    for first in (0, 1):  # the calls of a pair follow each other
        own = list(range(first, len(truth), 2))
        sf.write(folder / "alone.wav", sources.mix(own), 250_000, "FLOAT")
        times = truth.onset_s[own], truth.offset_s[own]
        parts.append(MultitaperSegmenter().measure(Recording(folder / "alone.wav"), *times))
        rows += own
    return Calls.concat(parts)[np.argsort(rows)]


def within(truth: pd.DataFrame, onset_s: float, offset_s: float) -> list[int]:
    """Numbers of the true calls that sound within a found one for 3 ms or more."""
    shared = np.minimum(truth.offset_s, offset_s) - np.maximum(truth.onset_s, onset_s)
    return np.flatnonzero(shared > LEAST_S).tolist()


def parts_with_truth(folder: Path, seeds: range) -> Iterator[dict[str, Any]]:
    """A row for each part of each marked overlap: its signs, its trust, and whether it is good."""
    network, segmenter, images = choose_model(250_000), MultitaperSegmenter(), CallImages()
    for seed in seeds:
        x, truth, sources = synthesize(
            24, 110, overlap=0.5, snr_db=(15, 18, 21, 24, 27)[seed % 5], snr_spread_db=3,
            animal=["m1", "m2"], bursts=0.2, random_state=100_000 + seed, return_sources=True,
        )  # fmt: skip
        sf.write(folder / "x.wav", x, 250_000, "FLOAT")
        recording = Recording(folder / "x.wav")
        calls = segmenter.segment(recording)
        table, alone = mark_overlaps(calls), images.transform(calls_alone(folder, truth, sources))
        times = table[["onset_s", "offset_s"]].to_numpy()
        for row in np.flatnonzero(table.n_sources > 1):
            n = int(table.n_sources.iloc[row])
            got = take_apart(recording, times, int(row), n, network, segmenter, folder)
            numbers = within(truth, *times[row])
            if isinstance(got, str) or not numbers:
                continue
            cosines = images.transform(got.parts) @ alone[numbers].T
            own = dict(zip(*linear_sum_assignment(-cosines), strict=True))
            for k, signs in enumerate(got.signs):
                good = k in own and cosines[k, own[k]] > 0.7
                yield signs._asdict() | {"trust": signs.trust, "good": bool(good), "seed": seed}


def trust_table(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Of parts with a trust in some range, how many are good."""
    bins = pd.cut(rows.trust, [0, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0])
    shown = [
        {"trust": str(k), "parts": len(o), "mean trust": o.trust.mean(), "good": o.good.mean()}
        for k, o in rows.groupby(bins, observed=True)
    ]
    trusted = rows[rows.trust >= 0.5]
    shown.append({"trust": "0.5 and more", "parts": len(trusted),
                  "mean trust": trusted.trust.mean(), "good": trusted.good.mean()})  # fmt: skip
    return shown


def fit_trust(rows: pd.DataFrame) -> dict[str, float]:
    """The weights of usvbook.part_trust.Signs.trust."""
    from sklearn.linear_model import LogisticRegression

    signs = rows.drop(columns=["trust", "good", "seed"]).astype(float)
    signs["n_ridges"], signs["n_extra"] = signs.n_ridges.clip(upper=6), signs.n_extra.clip(upper=2)
    signs["snr_db"] = signs.snr_db.clip(5, 20)
    fitted = LogisticRegression(max_iter=5_000).fit(signs, rows.good)
    weights = dict(zip(signs, fitted.coef_[0].round(2).tolist(), strict=True))
    return weights | {"constant": round(float(fitted.intercept_[0]), 2)}


def ideal_parts(recording: Recording, calls: Calls, truth: pd.DataFrame, sources: Sources) -> Apart:
    """The parts of marked overlaps by the ideal masks; what is one call in truth stays as it is."""
    front, segmenter = choose_model(250_000).front, MultitaperSegmenter()
    times = calls.table[["onset_s", "offset_s"]].to_numpy()
    gaps, found = quiet_gaps(times, recording.duration_s), []
    for row in np.flatnonzero(calls.table.n_sources > 1):
        numbers = within(truth, *times[row])
        excerpt = cut_overlap(recording, times, int(row), gaps)
        if len(numbers) < 2 or excerpt is None:
            continue
        n, alone = len(excerpt.sound), [sources.alone(i) for i in numbers]
        padded = np.pad(alone, ((0, 0), (n, n)))[:, excerpt.first + n : excerpt.first + 2 * n]
        masks = ideal_masks(stft(padded, front), front)
        for voice, sound in enumerate(voices_of(excerpt, masks, front), 1):
            folder = Path(recording.path).parent
            part = found_in_place(recording, excerpt, sound, times[row], segmenter, folder)
            part.table["overlap"], part.table["voice"], part.table["trust"] = row, voice, 1.0
            found.append(part)
    found = [one for one in found if len(one)]
    return Apart(Calls.concat(found) if found else None, [])


def own_unit(truth: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
    """Which true calls are matched, by their times, with one in the unit they have alone."""
    times = [one[["onset_s", "offset_s"]].to_numpy() for one in (truth, found)]
    apart = np.abs(times[0][:, None] - times[1][None]).sum(axis=2)
    shared = np.minimum(times[0][:, None, 1], times[1][None, :, 1]) - np.maximum(
        times[0][:, None, 0], times[1][None, :, 0]
    )
    i, j = linear_sum_assignment(np.where(shared > 0, apart, 1e3))
    right = np.zeros(len(truth), bool)
    right[i] = (truth.unit.to_numpy()[i] == found.unit.to_numpy()[j]) & (shared[i, j] > 0)
    return right


def with_units(calls: Calls, repertoire: Repertoire) -> pd.DataFrame:
    """The table of calls, with the unit of each."""
    calls.table["unit"] = repertoire.nearest(calls)[0]
    return calls.table


def whole_way(folder: Path, n_recordings: int, n_units: int = 12) -> None:
    """Counts of units against the truth, and overlapping calls in their own unit."""
    animals = [draw_animal(f"m{k}", np.random.default_rng([5, k])) for k in (1, 2)]
    how = {"duration_s": 40, "n_calls": 150, "animal": animals, "snr_db": 22, "snr_spread_db": 3}
    segmenter, lone, counts, shares = MultitaperSegmenter(), [], [], []
    for seed in range(3):
        sf.write(folder / "x.wav", synthesize(**how, random_state=500 + seed)[0], 250_000, "FLOAT")
        lone.append(segmenter.segment(Recording(folder / "x.wav")))
    repertoire = Repertoire(n_units, tau=None, random_state=0).fit(Calls.concat(lone))
    for seed in range(n_recordings):
        x, truth, sources = synthesize(
            **how, overlap=0.1, random_state=600 + seed, return_sources=True
        )
        sf.write(folder / "x.wav", x, 250_000, "FLOAT")
        recording = Recording(folder / "x.wav")
        calls = segmenter.segment(recording)
        mark_overlaps(calls)
        calls.table["call_key"] = [f"{seed}:{k}" for k in range(len(calls))]
        truth["unit"] = repertoire.nearest(calls_alone(folder, truth, sources))[0]
        table = with_units(calls, repertoire)
        ways = {"as found": table, "marked left out": table[table.n_sources == 1]}
        for name, apart in (
            ("taken apart", separate_overlaps(calls)),
            ("ideal masks", ideal_parts(recording, calls, truth, sources)),
        ):
            parts = None if apart.parts is None else with_units(apart.parts, repertoire)
            ways[name] = in_place_of_overlaps(table, parts)
        own = ways["taken apart"]
        ways["taken apart, trusted"] = own[~own.separated | (own.trust >= 0.5)]
        pairs = [within(truth, *span) for span in table[["onset_s", "offset_s"]].to_numpy()]
        at_once = sorted({i for pair in pairs if len(pair) > 1 for i in pair})
        counted = {name: one.unit.value_counts() for name, one in ways.items()}
        counts.append(pd.DataFrame({"truth": truth.unit.value_counts()} | counted))
        for name, one in ways.items():
            right = own_unit(truth, one)[at_once]
            shares.append({"way": name, "right": right.sum(), "of": len(right)})
    show_counts(sum(one.reindex(range(n_units)).fillna(0) for one in counts), pd.DataFrame(shares))


def show_counts(counts: pd.DataFrame, shares: pd.DataFrame) -> None:
    """The tables of the whole way."""
    print(f"\nCounts of units\n{counts.astype(int).to_string()}", flush=True)
    totals, rows = counts.sum(), []
    for way, one in shares.groupby("way", sort=False):
        astray = (counts[way] - counts.truth).abs().sum() / totals.truth
        row = {"way": way, "calls": int(totals[way]), "of truly": int(totals.truth)}
        row |= {"counts astray": astray, "overlapping calls": int(one.of.sum())}
        rows.append(row | {"in their own unit": one.right.sum() / one.of.sum()})
    show("The whole way: 10 % of the calls overlap", rows)


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=24.0, help="of each recording")
    parser.add_argument("--seeds", type=int, default=2, help="recordings at each level")
    parser.add_argument("--whole-way", action="store_true", help="found, taken apart, in units")
    parser.add_argument("--trust", action="store_true", help="what trust is worth")
    parser.add_argument("--fit-trust", action="store_true", help="the weights of trust")
    parser.add_argument("--recordings", type=int, default=8, help="of the whole way and of trust")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.whole_way:
            return whole_way(Path(folder), args.recordings)
        if args.trust or args.fit_trust:
            first = 0 if args.fit_trust else 1_000  # others than those of the fit
            seeds = range(first, first + args.recordings)
            rows = pd.DataFrame(parts_with_truth(Path(folder), seeds))
            show(f"Trust, {rows.good.mean():.3f} of all parts are good", trust_table(rows))
            if args.fit_trust:
                print(fit_trust(rows))
            return None
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
        with tempfile.TemporaryDirectory() as folder:
            show("Overlaps made of two calls of a real recording", real_mixtures(Path(folder)))
    return None


if __name__ == "__main__":
    main()
