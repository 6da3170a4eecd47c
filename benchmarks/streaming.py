"""Memory and speed of detection and pictures on a long recording, against a short one.

    python benchmarks/streaming.py                an hour and ten minutes
    python benchmarks/streaming.py --minutes 12   a short hour

The short recording is a synthetic one at 250 kHz with 20 calls a minute, the long one is six times
that; the hour takes 1.8 GB in the temporary folder. Each job runs in a process of its own, on one
thread: "import" loads the package and does no work; "read" reads all samples, block by block;
"STFT" also computes one Fourier transform of each (512 samples, hop 0.5 ms); "calls" finds,
measures and keeps the calls in a work area, as `usvbook build` does, and makes their pictures and
vectors. Peak memory is that of the whole process (resident set), seconds are those of
a processor.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import pandas as pd
import soundfile
from _measure import peak_mb, timed

from usvbook.preprocessing import CallImages
from usvbook.recordings import Recording, spectrogram
from usvbook.segmentation import MultitaperSegmenter
from usvbook.synthesis import synthesize
from usvbook.work_area import KeptSegmenter

RATE = 250_000
JOBS = ("import", "read", "STFT", "calls")


def write_recording(path: Path, minutes: int, calls_a_minute: int = 20, seed: int = 0) -> Path:
    """A synthetic recording, written minute by minute."""
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for minute in range(minutes):
            x, _ = synthesize(
                60, calls_a_minute, RATE, snr_db=20, random_state=1000 * seed + minute
            )
            file.write(0.5 * x / abs(x).max())
    return path


def repeat_recording(path: Path, longer: Path, times: int) -> Path:
    """A recording in which another comes several times."""
    with soundfile.SoundFile(longer, "w", RATE, 1, "PCM_16") as file:
        for _ in range(times):
            for block in soundfile.blocks(path, RATE, dtype="int16"):
                file.write(block)
    return longer


def work(job: str, path: Path) -> int:
    """One job on one recording; the number of calls."""
    recording = Recording(path)
    if job in ("read", "STFT"):
        for _, x in recording.blocks(4096 * 125):
            if job == "STFT":
                spectrogram(x, RATE) if len(x) >= 512 else None
    if job == "calls":
        with tempfile.TemporaryDirectory() as folder:
            calls = KeptSegmenter(MultitaperSegmenter(), Path(folder)).segment(recording)
            assert len(CallImages().transform(calls)) == len(calls)
        return len(calls)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60, help="of the long recording")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        done = timed(work, args.job[0], Path(args.job[1]))
        print(json.dumps([done.cpu, peak_mb(), done.result]))
        return
    rows, short = [], args.minutes // 6
    with tempfile.TemporaryDirectory() as folder:
        path = write_recording(Path(folder) / "short.wav", short)
        paths = {short: path, 6 * short: repeat_recording(path, Path(folder) / "long.wav", 6)}
        for length, path in paths.items():
            for job in JOBS:
                command = [sys.executable, __file__, "--job", job, str(path)]
                told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                seconds, memory, n_calls = json.loads(told.stdout)
                rows.append((job, length, seconds, memory, n_calls))
    table = pd.DataFrame(rows, columns=["job", "minutes", "s", "peak MB", "calls"])
    for base in ("read", "STFT"):
        floor = table[table["job"] == base].set_index("minutes")["s"]
        table[f"x {base}"] = table["s"] / table["minutes"].map(floor)
    table["h of audio a min"] = table["minutes"] / table["s"]  # minutes a second are hours a minute
    table.loc[table["job"] == "import", ["x read", "x STFT", "h of audio a min"]] = float("nan")
    print(table.round(2).to_string(index=False))
    for job in JOBS[1:]:
        short, long = table[table["job"] == job]["peak MB"]
        print(f"{job}: peak memory of the long recording is {long / short:.3f} of the short one's")


if __name__ == "__main__":
    main()
