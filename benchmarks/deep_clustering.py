"""Cost of deep clustering: the objective against its N x N form, training, separating, the SDR.

    python benchmarks/deep_clustering.py
    python benchmarks/deep_clustering.py --frames 50 --threads 2 --device cuda

The objective is measured at the paper's size, 100 frames of 129 bins and 40 dimensions, forward and
backward, in single precision. The form with all pairs of bins needs gigabytes there; `--frames`
makes it smaller. Each line of the first table is a process of its own, because memory that was once
taken is not seen to be taken again. Mixing and learning together are a training step. It embeds
only the bins in which a source is heard; the share of these, and the time that the loss and its
gradient take on all bins instead, stand beside it. Separating is told per second of sound: the
network, then all that follows (k-means, masks, inverse STFT). The SDR of torchmetrics, in double
precision, stands against that of mir_eval. All sounds are hums.
"""

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import torch
from _measure import peak_mb as peak_of_program
from _measure import timed
from torch import Tensor

from usvbook.deep_clustering import (
    bounded_score,
    dc_gradient,
    dc_loss,
    hum,
    indicator,
    speech_front_end,
    stft,
)
from usvbook.evaluation import known_mixtures, sdr_db
from usvbook.mixtures import Recipe, SoundBank, draw_mixtures, make_batch
from usvbook.separation import separate
from usvbook.training import batch_loss, new_run, train_step, trained_model

SIZES = ((128, 20), (300, 20), (600, 40))


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


def median_s(function: Callable, device: str, repeats: int) -> float:
    """Median of wall seconds, after one call that does not count."""

    def whole() -> None:
        function()
        synchronise(device)

    whole()
    return float(np.median([timed(whole).wall for _ in range(repeats)]))


def peak_mb(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_of_program()


def one_form(name: str, args: argparse.Namespace) -> None:
    """Time and memory of one form of the objective, as two numbers on a line."""
    generator = torch.Generator().manual_seed(0)
    n = args.frames * 129
    V = torch.randn(n, 40, generator=generator)
    V = (V / V.norm(dim=1, keepdim=True)).to(args.device)
    labels = torch.randint(-1, 2, (n,), generator=generator).to(args.device)
    FORMS[name](V[:99], labels[:99])  # whatever is loaded on first use
    before = peak_mb(args.device)
    wall = timed(lambda: (FORMS[name](V, labels), synchronise(args.device))).wall
    memory = peak_mb(args.device) - before
    if wall < 1:
        wall = median_s(lambda: FORMS[name](V, labels), args.device, args.repeats)
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


def hums(device: str = "cpu") -> SoundBank:
    return SoundBank([hum(8, 8_000, i) for i in range(8)], range(8), speech_front_end(), device)


def step_table(args: argparse.Namespace) -> None:
    bank = hums(args.device)
    print("\nTraining step\n")
    print(
        f"{'network':<22}{'segments':>12}{'weights':>10}{'mixing s':>10}{'learning s':>12}", end=""
    )
    print(f"{'heard':>8}{'all bins':>10}")
    for hidden, n_dims in SIZES:
        for frames, segments in ((100, 16), (400, 4)):
            recipe = Recipe(hidden=hidden, n_dims=n_dims, curriculum=((1.0, frames, segments),))
            run = new_run(bank, recipe)
            batch = make_batch(draw_mixtures(bank, recipe, 0), run.front, recipe)

            def mix(run=run, recipe=recipe) -> None:
                make_batch(draw_mixtures(bank, recipe, 0), run.front, recipe)

            def learn(run=run, recipe=recipe, batch=batch) -> None:
                train_step(run.net, run.optimizer, batch, recipe, 0)

            def heard(run=run, recipe=recipe, batch=batch) -> None:
                batch_loss(run.net, batch, recipe).loss.backward()

            def all_bins(run=run, recipe=recipe, batch=batch) -> None:
                V, labels = run.net(batch.features).flatten(1, 2), batch.labels.flatten(1, 2)
                bounded_score(V.detach(), labels)
                dc_loss(V, labels, recipe.weighting, recipe.reduction).mean().backward()

            mixing = median_s(mix, args.device, args.repeats)
            learning = median_s(learn, args.device, args.repeats)
            ratio = median_s(all_bins, args.device, args.repeats)
            ratio /= median_s(heard, args.device, args.repeats)
            share = float((batch.labels >= 0).float().mean())
            weights = sum(p.numel() for p in run.net.parameters()) / 1e6
            print(
                f"2 x {hidden}, K = {n_dims:<10}{segments:>5} x {frames}{weights:>9.1f}M"
                f"{mixing:>10.3f}{learning:>12.3f}{share:>8.0%}{ratio:>8.1f} x",
                flush=True,
            )


def separation_table(args: argparse.Namespace) -> None:
    seconds, bank = 8, hums()
    x = np.array(hum(seconds, 8_000, 1) + hum(seconds, 8_000, 2))
    print("\nSeparating two sources: seconds per second of sound\n")
    print(f"{'network':<22}{'network s':>12}{'all s':>10}{'times real time':>18}")
    for hidden, n_dims in SIZES:
        model = trained_model(new_run(bank, Recipe(hidden=hidden, n_dims=n_dims)))
        model.net.to(args.device)
        z = stft(x, model.front)
        network = median_s(lambda m=model, z=z: m.embed(z), args.device, args.repeats) / seconds
        whole = median_s(lambda m=model: separate(x, m, 2), args.device, args.repeats) / seconds
        print(f"2 x {hidden}, K = {n_dims:<10}{network:>12.4f}{whole:>10.4f}{1 / whole:>18.0f}")


def sdr_table() -> None:
    """The library's SDR against mir_eval's."""
    import mir_eval.separation

    rng, differences, ours_s, theirs_s = np.random.default_rng(0), [], [], []
    for one in known_mixtures(hums(), 10):
        sources = one.sources.astype(float)
        found = sources + rng.uniform(0.1, 1) * sources[::-1]
        wall, _, ours = timed(sdr_db, sources[:, None], found)  # all pairs, as mir_eval
        ours_s.append(wall)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wall, _, (theirs, *_) = timed(mir_eval.separation.bss_eval_sources, sources, found)
            theirs_s.append(wall)
        differences.append(np.abs(np.diag(ours) - theirs).max())
    ratio = np.median(theirs_s) / np.median(ours_s)
    print(f"\nSDR of 2 sources of 4 s, {len(differences)} mixtures, against mir_eval\n")
    print(
        f"largest difference {max(differences):.1e} dB; {np.median(ours_s):.3f} s against", end=""
    )
    print(f" {np.median(theirs_s):.3f} s: {ratio:.1f} x")


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
    separation_table(args)
    sdr_table()


if __name__ == "__main__":
    main()
