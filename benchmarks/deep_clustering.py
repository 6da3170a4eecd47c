"""Cost of deep clustering: the objective against its N x N form, and a training step by size.

    python benchmarks/deep_clustering.py
    python benchmarks/deep_clustering.py --frames 50 --threads 2 --device cuda

The objective is measured at the paper's size, 100 frames of 129 bins and 40 dimensions, forward and
backward, in single precision. The form with all pairs of bins needs gigabytes there; `--frames`
makes it smaller. Each line of the first table is a process of its own, because memory that was once
taken is not seen to be taken again. Mixing and learning together are a training step.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from usvbook.deep_clustering import dc_gradient, dc_loss, hum, indicator, speech_front_end
from usvbook.mixtures import Recipe, SoundBank, draw_mixtures, make_batch
from usvbook.training import new_run, train_step


def all_pairs(V: Tensor, labels: Tensor) -> Tensor:
    """Eq. 1 as it is printed, with every pair of bins."""
    V = V[labels >= 0]
    Y = indicator(labels)[labels >= 0]
    affinity = Y @ Y.T
    d = affinity.sum(1)
    return ((V @ V.T - affinity).square() / (d[:, None] * d).sqrt()).sum()


def by_autograd(loss: Callable) -> Callable:
    def gradient(V: Tensor, labels: Tensor) -> Tensor:
        V = V.detach().requires_grad_()
        loss(V, labels).backward()
        assert V.grad is not None
        return V.grad

    return gradient


FORMS: dict[str, Callable] = {
    "eq. 1, all pairs": by_autograd(all_pairs),
    "eq. 3, low rank": by_autograd(dc_loss),
    "eq. 3 whitened": by_autograd(lambda V, labels: dc_loss(V, labels, "whitened")),
    "eq. 4 (gradient only)": dc_gradient,
}


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(function: Callable, device: str, repeats: int) -> float:
    """Median of wall seconds."""
    function()
    walls = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        function()
        synchronise(device)
        walls.append(time.perf_counter() - start)
    return float(np.median(walls))


def peak_mb(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    factor = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor / 2**20


def one_form(name: str, args: argparse.Namespace) -> None:
    """Time and memory of one form of the objective, as two numbers on a line."""
    generator = torch.Generator().manual_seed(0)
    n = args.frames * 129
    V = torch.randn(n, 40, generator=generator)
    V = (V / V.norm(dim=1, keepdim=True)).to(args.device)
    labels = torch.randint(-1, 2, (n,), generator=generator).to(args.device)
    FORMS[name](V[:99], labels[:99])  # whatever is loaded on first use
    before = peak_mb(args.device)
    start = time.perf_counter()
    FORMS[name](V, labels)
    synchronise(args.device)
    wall = time.perf_counter() - start
    memory = peak_mb(args.device) - before
    if wall < 1:
        wall = timed(lambda: FORMS[name](V, labels), args.device, args.repeats)
    print(wall, memory)


def objective_table(args: argparse.Namespace) -> None:
    print(f"Objective with gradient, N = {args.frames * 129}, K = 40\n")
    print(f"{'form':<26}{'seconds':>10}{'MB':>10}{'time ratio':>14}")
    first = None
    for name in FORMS:
        command = [sys.executable, __file__, "--form", name, "--frames", str(args.frames)]
        command += ["--threads", str(args.threads), "--device", args.device]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            print(f"{name:<26}  failed: {(said.stderr.splitlines() or ['killed'])[-1][:60]}")
            continue
        wall, memory = map(float, said.stdout.split())
        first = first or wall
        print(f"{name:<26}{wall:>10.4f}{memory:>10.1f}{first / wall:>12.0f} x")


def step_table(args: argparse.Namespace) -> None:
    front = speech_front_end()
    bank = SoundBank([hum(8, 8_000, i) for i in range(8)], range(8), front, args.device)
    print("\nTraining step\n")
    print(f"{'network':<22}{'segments':>12}{'weights':>10}{'mixing s':>10}{'learning s':>12}")
    for hidden, n_dims in ((128, 20), (300, 20), (600, 40)):
        for frames, segments in ((100, 16), (400, 4)):
            recipe = Recipe(hidden=hidden, n_dims=n_dims, curriculum=((1.0, frames, segments),))
            run = new_run(bank, recipe)
            batch = make_batch(draw_mixtures(bank, recipe, 0), run.front, recipe)

            def mix(run=run, recipe=recipe) -> None:
                make_batch(draw_mixtures(bank, recipe, 0), run.front, recipe)

            def learn(run=run, recipe=recipe, batch=batch) -> None:
                train_step(run.net, run.optimizer, batch, recipe, 0)

            mixing = timed(mix, args.device, args.repeats)
            learning = timed(learn, args.device, args.repeats)
            weights = sum(p.numel() for p in run.net.parameters()) / 1e6
            print(
                f"2 x {hidden}, K = {n_dims:<10}{segments:>5} x {frames}{weights:>9.1f}M"
                f"{mixing:>10.3f}{learning:>12.3f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100, help="of the segment, 100 in the paper")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--form", choices=list(FORMS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.form:
        one_form(args.form, args)
        return
    objective_table(args)
    step_table(args)


if __name__ == "__main__":
    main()
