"""A build that is killed again and again, against one that nobody disturbs.

    python benchmarks/resume.py                          40 recordings, 20 kills
    python benchmarks/resume.py --recordings 8 --kills 4

`usvbook build` on synthetic recordings of some seconds. It is killed (SIGKILL) at random moments,
each time started again with the same command, and after the last kill left alone. The results must
be the same bytes as those of an undisturbed run. Printed are the searches that were begun and
those that had to be begun again.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import soundfile
from _measure import Clock

from usvbook.synthesis import synthesize

# Says when it begins, and notes every search that it begins; draws no figures.
PROGRAM = """
import sys
import usvbook.runs
from usvbook.cli import main
from usvbook.segmentation import MultitaperSegmenter

usvbook.runs.draw_figures = lambda *given: {}
journal, segment = open(sys.argv.pop(1), "a", buffering=1), MultitaperSegmenter.segment

def noted(self, recording, patches=None):
    print(recording.path.name, file=journal)
    return segment(self, recording, patches)

MultitaperSegmenter.segment = noted
print("ready", flush=True)
main()
"""


def start(folder: Path, out: str) -> subprocess.Popen:
    """A build that has loaded everything and begins now."""
    words = ("build", "in", "-o", out, "--n-clusters", "4", "--n-seeds", "0", "--tau", "0.6")
    command = [sys.executable, "-c", PROGRAM, f"{out}.journal", *words]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen) -> None:
    process.communicate()
    assert process.returncode == 0


def results(out: Path) -> dict[str, bytes]:
    """Every result; run.json and report.html hold the date and timings."""
    files = [p for p in out.rglob("*") if p.is_file() and "work" not in p.parts]
    skipped = ("run.json", "report.html")
    return {str(p.relative_to(out)): p.read_bytes() for p in files if p.name not in skipped}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for k in range(args.recordings):
            x, _ = synthesize(6, 10, 250_000, 25, random_state=k)
            soundfile.write(folder / "in" / f"{k:02d}.wav", x, 250_000)
        process, clock = start(folder, "undisturbed"), Clock()
        finish(process)
        seconds = clock.read()[0]
        kept, n_kills = [], 0
        for _ in range(args.kills):
            process = start(folder, "killed")
            time.sleep(chance.uniform(0, 2.5 * seconds / args.kills))
            process.kill()
            process.communicate()
            if (folder / "killed" / "run.json").exists():  # it was done before
                break
            n_kills += 1
            kept.append(len(list((folder / "killed" / "work").glob("*.npz"))))
        if not (folder / "killed" / "run.json").exists():
            finish(start(folder, "killed"))
        found, wanted = results(folder / "killed"), results(folder / "undisturbed")
        n_begun = len((folder / "killed.journal").read_text().splitlines())
    n, same = args.recordings, found == wanted
    print(f"{n} recordings of 6 s, killed {n_kills} times; undisturbed: {seconds:.1f} s")
    print(f"recordings kept after each kill: {' '.join(map(str, kept))}")
    print(f"searches begun: {n_begun}; begun again: {n_begun - n} ({n_begun / n - 1:.0%})")
    print(f"{', '.join(sorted(wanted))}: {'the same bytes' if same else 'NOT the same bytes'}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
