"""What every command does before it does anything: seconds to import, and to begin.

    python benchmarks/start.py

Each line is a fresh process, the median of several, beside an empty Python and beside the import of
the libraries that the work needs. Commands run on one second of sound.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

LIBRARIES = "import numpy, scipy.signal, scipy.stats, sklearn.cluster, pandas, matplotlib.pyplot"
IMPORTS = {
    "an empty Python": "pass",
    "numpy, scipy, scikit-learn, pandas, matplotlib": LIBRARIES,
    "import usvbook": "import usvbook",
    "import usvbook.repertoire": "import usvbook.repertoire",
}
COMMANDS = {
    "usvbook --help": ["--help"],
    "usvbook build --help": ["build", "--help"],
    "usvbook detect, nothing to find": ["detect", "quiet", "-o", "calls.csv", "--force"],
    "usvbook build, refused at once": ["build", "nowhere", "-o", "out"],
}


def seconds(words: list[str], folder: Path, repeats: int) -> float:
    """Median wall seconds of a process."""
    walls = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(words, cwd=folder, capture_output=True, check=False)
        walls.append(time.perf_counter() - start)
    return statistics.median(walls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "quiet").mkdir()
        hiss = np.random.default_rng(0).normal(0, 0.01, 250_000)
        soundfile.write(folder / "quiet" / "hiss.wav", hiss, 250_000)
        python = [sys.executable, "-c"]
        command = [*python, "from usvbook.cli import main; main()"]
        rows = {label: [*python, code] for label, code in IMPORTS.items()}
        rows |= {label: [*command, *words] for label, words in COMMANDS.items()}
        floor = None
        for label, words in rows.items():
            wall = seconds(words, folder, args.repeats)
            floor = wall if label.startswith("numpy") else floor
            ratio = "" if floor is None else f"{wall / floor:8.2f} x the libraries"
            print(f"{label:<50}{wall:8.2f} s{ratio}", flush=True)


if __name__ == "__main__":
    main()
