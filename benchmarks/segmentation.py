"""How well and how fast the default segmenter finds calls.

    USVBOOK_DATA=FOLDER python benchmarks/segmentation.py                  everything
    python benchmarks/segmentation.py synthetic                            needs no recordings
    USVBOOK_DATA=FOLDER python benchmarks/segmentation.py hour --minutes 5 a short hour

Sections: marked (against marks made by hand), held-out (settings chosen without the recording they
are tested on), unmoved (gain, zeros), hour (each recording in the middle of background), bursts,
synthetic and speed. USVBOOK_DATA names the folder that holds `usv/calls.csv` and the recordings
named in it. One thread is used; times are processor times. The section `hour` writes files of
3.6 GB into the temporary folder, one at a time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import pandas as pd
import scipy.signal
import soundfile as sf

from usvbook.calls import Matching, match_calls
from usvbook.recordings import Recording, spectrogram
from usvbook.segmentation import MultitaperSegmenter
from usvbook.synthesis import synthesize

SEGMENTER = MultitaperSegmenter()
NOTHING = Matching(np.zeros((0, 2), int), 0, 0, np.zeros(0), np.zeros(0))


class Marked:
    """Recordings with calls marked by hand."""

    def __init__(self) -> None:
        root = os.environ.get("USVBOOK_DATA")
        if not root:
            raise SystemExit("this section needs recordings: set USVBOOK_DATA to their folder")
        table = pd.read_csv(Path(root) / "usv" / "calls.csv")
        self.calls = {name: one.reset_index(drop=True) for name, one in table.groupby("file")}
        self.recordings = {name: Recording(Path(root) / "usv" / name) for name in self.calls}

    def __iter__(self) -> Iterator[tuple[str, Recording, pd.DataFrame]]:
        for name, recording in self.recordings.items():
            yield name, recording, self.calls[name]


def show(title: str, rows: list[dict[str, Any]], decimals: int = 3) -> None:
    """A table with a title."""
    print(f"\n{title}\n{pd.DataFrame(rows).round(decimals).to_string(index=False)}", flush=True)


def found_in(
    x: np.ndarray, rate: int, folder: Path, segmenter: MultitaperSegmenter = SEGMENTER
) -> pd.DataFrame:
    """Calls in samples, by way of a file."""
    path = folder / "samples.wav"
    sf.write(path, x, rate, subtype="FLOAT")
    return segmenter.segment(Recording(path)).table


def score(matching: Matching) -> dict[str, Any]:
    """Precision, recall and F1; median border errors in ms."""
    row = {
        "marked": matching.n_reference,
        "found": matching.n_detected,
        "precision": matching.precision,
        "recall": matching.recall,
        "F1": matching.f1,
    }
    for side in ("onset", "offset"):
        errors = 1000 * getattr(matching, f"{side}_errors_s")
        row[f"{side} error (ms)"] = np.median(np.abs(errors)) if len(errors) else np.nan
    return row


def marked_section(args: argparse.Namespace, folder: Path) -> None:
    """Agreement with the marks; what is found by level; what is missed and what is false."""
    total, rows, levels, hits, odd = NOTHING, [], [], [], []
    for name, recording, marks in Marked():
        found = SEGMENTER.segment(recording).table
        matching = match_calls(marks, found)
        total = total + matching
        rows.append({"recording": name, **score(matching)})
        level = SEGMENTER.measure(recording, marks["onset_s"], marks["offset_s"]).table["snr_db"]
        hit = np.isin(np.arange(len(marks)), matching.pairs[:, 0])
        levels.append(level.to_numpy())
        hits.append(hit)
        for i in np.flatnonzero(~hit):
            odd.append(("missed", name, *marks.loc[i, ["onset_s", "offset_s"]], level[i]))
        false = ~np.isin(np.arange(len(found)), matching.pairs[:, 1])
        for call in found[false].itertuples():
            odd.append(("false", name, call.onset_s, call.offset_s, call.snr_db))
    show("Against the marks", [*rows, {"recording": "together", **score(total)}])
    level, hit = np.concatenate(levels), np.concatenate(hits)
    edges = [-np.inf, 4, 6, 8, 10, 15, np.inf]
    rows = []
    for low, high in pairwise(edges):
        inside = (level >= low) & (level < high)
        rows.append(
            {
                "ridge (dB)": f"{low:g} to {high:g}",
                "marked": inside.sum(),
                "found": hit[inside].sum(),
            }
        )
    show("Marked calls by the median level of their ridge above background", rows)
    columns = ["what", "recording", "onset_s", "offset_s", "ridge (dB)"]
    show("Missed and false calls", [dict(zip(columns, row, strict=True)) for row in odd])


def held_out_section(args: argparse.Namespace, folder: Path) -> None:
    """Settings that are best on three recordings, tried on the fourth."""
    steps = {
        "threshold": (0, -0.2, 0.2, -0.4, 0.4, -0.6, 0.6),
        "min_duration_s": (0, -0.002, 0.002),
        "min_gap_s": (0, -0.005, 0.005),
        "max_width_hz": (0, -3000, 3000),
    }
    # from the default outward: among equals the nearest is chosen
    outward = sorted(product(*map(range, map(len, steps.values()))), key=sum)
    candidates = [
        {
            name: round(getattr(SEGMENTER, name) + steps[name][i], 6)
            for name, i in zip(steps, place, strict=True)
        }
        for place in outward
    ]
    marked = Marked()
    tried = []
    for settings in candidates:
        segmenter = MultitaperSegmenter(**settings)
        tried.append(
            {
                name: match_calls(marks, segmenter.segment(recording).table)
                for name, recording, marks in marked
            }
        )
    rows, pooled = [], NOTHING
    for name in marked.calls:
        others = [
            round(sum((m for n, m in by.items() if n != name), NOTHING).f1, 9) for by in tried
        ]
        best = int(np.argmax(others))
        held = tried[best][name]
        pooled = pooled + held
        rows.append(
            {"held out": name, **candidates[best]}
            | {"F1 of the others": others[best], "F1 held out": held.f1}
        )
    show(f"Leaving one recording out, {len(candidates)} settings", rows, 4)
    f1 = np.array([sum(by.values(), NOTHING).f1 for by in tried])
    print(f"four held-out recordings together: F1 {pooled.f1:.3f}")
    print(
        f"all recordings with one setting: F1 from {f1.min():.3f} to {f1.max():.3f}, "
        f"{np.mean(f1 >= 0.95):.0%} of the settings reach .95; the default {f1[0]:.3f}"
    )


def comparison(
    alone: pd.DataFrame, found: pd.DataFrame, shift_s: float, span_s: float
) -> dict[str, Any]:
    """Calls found in a changed recording against those found in it alone; times less `shift_s`."""
    found = found.assign(onset_s=found.onset_s - shift_s, offset_s=found.offset_s - shift_s)
    inside = found[(found.offset_s > 0) & (found.onset_s < span_s)]
    matching = match_calls(alone, inside)
    errors = np.abs(np.r_[matching.onset_errors_s, matching.offset_errors_s, 0.0])
    return {
        "alone": len(alone),
        "matched": len(matching.pairs),
        "more": len(inside) - len(matching.pairs),
        "largest shift of a border (ms)": 1000 * errors.max(),
        "borders within 0.5 ms": np.mean(errors[:-1] <= 0.0005 + 1e-9),
        "outside": len(found) - len(inside),
    }


def unmoved_section(args: argparse.Namespace, folder: Path) -> None:
    """The same calls at other gains, and between stretches of exact zeros."""
    rows = []
    for name, recording, _ in Marked():
        x, rate = recording.read(), recording.samplerate_hz
        alone = SEGMENTER.segment(recording).table
        for gain in (0.0001, 0.1, 1, 10):
            found = found_in(np.float32(gain) * x, rate, folder)
            change = f"gain {gain:g}"
            rows.append(
                {"recording": name, "change": change}
                | comparison(alone, found, 0, recording.duration_s)
            )
        zeros = np.zeros(10 * rate, np.float32)
        found = found_in(np.concatenate([zeros, x, zeros]), rate, folder)
        rows.append(
            {"recording": name, "change": "zeros"}
            | comparison(alone, found, 10, recording.duration_s)
        )
    show("Changes that must not matter", rows)


def quiet_stretches(
    recording: Recording,
    marks: pd.DataFrame,
    least_s: float = 0.06,  # a shorter stretch is not used
    guard_s: float = 0.02,  # distance from a marked call
) -> list[np.ndarray]:
    """Samples between the marked calls."""
    rate = recording.samplerate_hz
    starts = np.r_[0, marks["offset_s"] + guard_s] * rate
    stops = np.r_[marks["onset_s"] - guard_s, recording.duration_s] * rate
    spans = [(int(a), int(b)) for a, b in zip(starts, stops, strict=True) if b - a > least_s * rate]
    return [recording.read(a, b) for a, b in spans]


def shaped_noise(
    stretches: list[np.ndarray], rate: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Endless stationary noise with the spectrum of the stretches, ten seconds at a time."""
    density = np.mean(
        [scipy.signal.welch(x, rate, nperseg=1024, scaling="density")[1] for x in stretches], axis=0
    )
    freqs_hz = np.linspace(0, rate / 2, len(density))
    taps = scipy.signal.firwin2(1025, freqs_hz, np.sqrt(density * rate / 2), fs=rate)
    taps, tail = taps.astype(np.float32), rng.standard_normal(1024, dtype=np.float32)
    while True:
        white = np.concatenate([tail, rng.standard_normal(10 * rate, dtype=np.float32)])
        yield scipy.signal.oaconvolve(white, taps, mode="valid")
        tail = white[-1024:]


def pasted_noise(
    stretches: list[np.ndarray], rate: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Endless background of the stretches themselves in random order, faded over 10 ms."""
    n = round(0.01 * rate)
    fade = np.sin(np.linspace(0, np.pi / 2, n, dtype=np.float32))
    tail = np.zeros(n, np.float32)
    while True:
        x = stretches[rng.integers(len(stretches))].copy()
        x[:n] = x[:n] * fade + tail
        tail = x[-n:] * fade[::-1]
        yield x[:-n]


def write_surrounded(
    path: Path, recording: Recording, noise: Iterator[np.ndarray], minutes: float
) -> float:
    """The recording in the middle of background, written block by block; its first second."""
    rate = recording.samplerate_hz
    half = round(minutes * 30 * rate)
    with sf.SoundFile(path, "w", rate, 1, subtype="FLOAT") as file:
        for after in (False, True):
            written = 0
            while written < half:
                block = next(noise)[: half - written]
                file.write(block)
                written += len(block)
            if not after:
                file.write(recording.read())
    return half / rate


def hour_section(args: argparse.Namespace, folder: Path) -> None:
    """Each recording in the middle of background of its own spectrum and level."""
    path, rows = folder / "hour.wav", []
    for name, recording, marks in Marked():
        alone = SEGMENTER.segment(recording).table
        stretches = quiet_stretches(recording, marks)
        for kind, make in (("shaped noise", shaped_noise), ("pasted stretches", pasted_noise)):
            if args.background not in (kind.split()[0], "both"):
                continue
            noise = make(stretches, recording.samplerate_hz, np.random.default_rng(args.seed))
            start_s = write_surrounded(path, recording, noise, args.minutes)
            begin = time.process_time()
            found = SEGMENTER.segment(Recording(path)).table
            used_s = time.process_time() - begin
            row = comparison(alone, found, start_s, recording.duration_s)
            row["outside/min"] = row["outside"] / args.minutes
            row["x real time"] = (args.minutes * 60 + recording.duration_s) / used_s
            rows.append({"recording": name, "background": kind, **row})
            path.unlink()
    show(f"In the middle of {args.minutes:g} min of background", rows)


def add_bursts(
    x: np.ndarray,
    rate: int,
    n_bursts: int,
    width_hz: float | None,  # None: broadband
    level: float,  # root mean square of a burst over that of the recording
    rng: np.random.Generator,
    duration_s: float = 0.01,
) -> np.ndarray:
    """Samples with bursts of noise under a Hann window at random times and frequencies."""
    y, size = x.copy(), round(duration_s * rate)
    freqs_hz = np.fft.rfftfreq(size, 1 / rate)
    for first in rng.integers(0, len(x) - size, n_bursts):
        noise = np.fft.rfft(rng.standard_normal(size))
        if width_hz:
            low_hz = rng.uniform(36e3, 119e3 - width_hz)
            noise[(freqs_hz < low_hz) | (freqs_hz > low_hz + width_hz)] = 0
        burst = np.fft.irfft(noise, size) * np.hanning(size)
        y[first : first + size] += level * np.std(x) * burst / np.sqrt(np.mean(burst**2))
    return y.astype(np.float32)


def bursts_section(args: argparse.Namespace, folder: Path) -> None:
    """Agreement with the marks where bursts were added."""
    marked, rows = Marked(), []
    rules = {"": SEGMENTER, " unchecked": MultitaperSegmenter(max_width_hz=1e9)}
    for width_hz, level in product((None, 40e3, 20e3, 10e3, 5e3), (0.5, 1.0, 3.0)):
        total = dict.fromkeys(rules, NOTHING)
        for seed in range(args.repeats):
            rng = np.random.default_rng([args.seed, seed])
            for _, recording, marks in marked:
                n = round(args.bursts_per_s * recording.duration_s)
                rate = recording.samplerate_hz
                y = add_bursts(recording.read(), rate, n, width_hz, level, rng)
                for rule, segmenter in rules.items():
                    found = found_in(y, rate, folder, segmenter)
                    total[rule] = total[rule] + match_calls(marks, found)
        row = {"width": f"{width_hz / 1e3:g} kHz" if width_hz else "broadband", "level": level}
        for rule, m in total.items():
            row |= {f"precision{rule}": m.precision, f"recall{rule}": m.recall, f"F1{rule}": m.f1}
        rows.append(row)
    show(
        f"{args.bursts_per_s:g} bursts of 10 ms a second; level: rms of a burst over that of the "
        "recording; unchecked: without the limit on the width of calls",
        rows,
    )


def synthetic_section(args: argparse.Namespace, folder: Path) -> None:
    """Agreement with the truth of synthetic recordings."""
    rows = []
    for rate, snr_db in product((192_000, 250_000, 384_000), (10, 20)):
        total = NOTHING
        for seed in range(6):
            settings: dict[str, Any] = {"samplerate_hz": rate, "snr_db": snr_db}
            x, truth = synthesize(10, 60, random_state=args.seed + seed, **settings)
            total = total + match_calls(truth, found_in(x, rate, folder))
        rows.append({"rate (Hz)": rate, "SNR (dB)": snr_db, **score(total)})
    show("Synthetic recordings with all classes of calls", rows)


def read_all(recording: Recording) -> int:
    """Read block by block."""
    return sum(len(x) for _, x in recording.blocks(4096 * 125))


def spectrogram_all(recording: Recording) -> float:
    """Read block by block, with one spectrogram of 512 points every 0.5 ms."""
    rate = recording.samplerate_hz
    return sum(float(spectrogram(x, rate).power[0, 0]) for _, x in recording.blocks(4096 * 125))


def speed_section(args: argparse.Namespace, folder: Path) -> None:
    """Time of the segmenter, of reading and of one spectrogram, in turn."""
    paths = {}
    if os.environ.get("USVBOOK_DATA"):
        marked = Marked()
        rate = next(iter(marked.recordings.values())).samplerate_hz
        x = np.concatenate([recording.read() for _, recording, _ in marked])
        x = np.tile(x, -(-60 * rate // len(x)))[: 60 * rate]
        sf.write(folder / "real.wav", x, rate, subtype="PCM_16")
        paths["four recordings repeated"] = folder / "real.wav"
    for n_calls in (360, 60, 0):
        x, _ = synthesize(60, n_calls, random_state=args.seed)
        path = folder / f"synthetic_{n_calls}.wav"
        sf.write(path, x, 250_000, subtype="PCM_16")
        paths[f"synthetic, {n_calls} calls"] = path
    steps: dict[str, Callable] = {
        "read": read_all,
        "spectrogram": spectrogram_all,
        "segment": SEGMENTER.segment,
    }
    rows = []
    for name, path in paths.items():
        recording, n_calls = Recording(path), len(SEGMENTER.segment(Recording(path)))
        times: dict[str, list[float]] = {step: [] for step in steps}
        for _ in range(args.repeats):
            for step, function in steps.items():
                begin = time.process_time()
                function(recording)
                times[step].append(time.process_time() - begin)
        best = {step: min(seconds) for step, seconds in times.items()}
        rows.append(
            {
                "60 s of": name,
                "calls/s": n_calls / recording.duration_s,
                **{f"{step} (s)": seconds for step, seconds in best.items()},
                "to reading": best["segment"] / best["read"],
                "to reading and spectrogram": best["segment"] / best["spectrogram"],
                "x real time": recording.duration_s / best["segment"],
            }
        )
    show(f"Speed on one core, best of {args.repeats} (the spectrogram includes reading)", rows, 2)


SECTIONS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "marked": marked_section,
    "held-out": held_out_section,
    "unmoved": unmoved_section,
    "hour": hour_section,
    "bursts": bursts_section,
    "synthetic": synthetic_section,
    "speed": speed_section,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="default: all of them")
    parser.add_argument("--minutes", type=float, default=60, help="background in section hour")
    parser.add_argument("--background", choices=("shaped", "pasted", "both"), default="both")
    parser.add_argument("--bursts-per-s", type=float, default=4)
    parser.add_argument("--repeats", type=int, default=5, help="in the sections bursts and speed")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_intermixed_args()
    unknown = set(args.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {sorted(unknown)}; choose from {list(SECTIONS)}")
    for name in args.sections or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            SECTIONS[name](args, Path(folder))


if __name__ == "__main__":
    main()
