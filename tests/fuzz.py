"""Fuzz everything that reads files from outside, led by the code that is reached.

    python tests/fuzz.py                     each kind of file for a minute
    python tests/fuzz.py --seconds 600 repertoire

Needs atheris (`pip install atheris`; Linux). Each kind of file is fuzzed in a process of its own;
an input that makes a reader fail in any way but its own is kept in the folder `--keep`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
INCLUDED = ["usvbook", "json", "tomllib", "zipfile"]  # whose branches lead


def edits_of(content: bytes) -> list[tuple[int, float, int, bytes]]:
    """Edits that some bytes stand for: six bytes each, and what is put in."""
    edits, k = [], 0
    while k + 6 <= len(content) and len(edits) < 12:
        which, place, n_out, n_in = (
            content[k],
            content[k + 1 : k + 4],
            content[k + 4],
            content[k + 5],
        )
        new = content[k + 6 : k + 6 + n_in % 64]
        edits.append((which, int.from_bytes(place, "big") / 2**24, n_out % 64, new))
        k += 6 + len(new)
    return edits


def fuzz(name: str, seconds: int, keep: Path) -> None:
    """Never returns: atheris ends the process."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # code that counts its branches cannot be compiled
    import atheris

    with atheris.instrument_imports(include=INCLUDED):
        import hostile
    target, scratch = hostile.targets()[name], tempfile.TemporaryDirectory()

    def once(content: bytes) -> None:
        target.check(target.edited(edits_of(content)), Path(scratch.name))

    given = [sys.argv[0], f"-max_total_time={seconds}", "-max_len=400", "-timeout=20"]
    given += ["-rss_limit_mb=3000", f"-artifact_prefix={keep}/{name.replace(' ', '_')}-"]
    atheris.Setup([*given, "-verbosity=0", "-print_final_stats=1"], once)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", help="kinds of file; none: all")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sys.path.insert(0, str(HERE))
    args.keep.mkdir(exist_ok=True)
    if args.one:
        fuzz(args.one, args.seconds, args.keep)
    import hostile

    print(f"{'kind':<24}{'executions':>12}{'seconds':>10}  outcome")
    for name in args.kinds or hostile.targets():
        command = [sys.executable, __file__, "--one", name, "--seconds", str(args.seconds)]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "--keep", args.keep],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        stats = [s for s in done.stderr.splitlines() if "number_of_executed_units" in s]
        count = int(stats[-1].split()[-1]) if stats else 0
        last = [s for s in done.stderr.splitlines() if "Error" in s or "ERROR" in s]
        said = "nothing found" if done.returncode == 0 else (last or ["ended"])[0][:150]
        print(f"{name:<24}{count:>12}{time.perf_counter() - began:>10.0f}  {said}", flush=True)


if __name__ == "__main__":
    main()
