"""Run the benchmarks and keep what they print in `benchmarks/results`, for the page that shows it.

    python benchmarks/record.py                    all of them: two hours on two cores
    python benchmarks/record.py growth spectral    these

Each file begins with the command and the machine. A benchmark that fails keeps its old file. Those
that need recordings are left out, and said to be, where USVBOOK_DATA is not set.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from _measure import machine

HERE = Path(__file__).parent
COMMANDS = {
    "segmentation": "segmentation.py marked unmoved synthetic speed",
    "streaming": "streaming.py",
    "resume": "resume.py",
    "self_expression": "self_expression.py --n 9000 --certificate --budget 300 --memory",
    "compilation": "self_expression.py --cold",
    "lambda_path": "lambda_path.py --n 9000",
    "spectral": "spectral.py --n 9000 --k 60",
    "tsne": "tsne.py --sizes 500 2000",
    "repertoire": "repertoire.py --n 9000 --k 40",
    "kmeans": "kmeans.py --n 9000 --k 40",
    "start": "start.py",
    "tuning": "tuning.py",
    "growth": "growth.py --csv nbs/growth.csv",
    "deep_clustering": "deep_clustering.py",
    "separation": "separation.py --n 100 --only initial count",
}
NEEDS_RECORDINGS = {"segmentation", "separation"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(COMMANDS))
    names = parser.parse_args().names or list(COMMANDS)
    if unknown := set(names) - set(COMMANDS):
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(COMMANDS)}")
    failed = []
    for name in names:
        if name in NEEDS_RECORDINGS and not os.environ.get("USVBOOK_DATA"):
            print(f"{name}: left out, USVBOOK_DATA is not set")
            continue
        command = f"python benchmarks/{COMMANDS[name]}"
        print(command, flush=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *command.split()[1:]],
            cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        print(done.stdout, flush=True)
        if done.returncode:
            failed.append(name)
            continue
        text = f"$ {command}\n# {machine()}\n{done.stdout.rstrip()}\n"
        (HERE / "results" / f"{name}.txt").write_text(text, encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
