"""Training of the embedding network: a killed run goes on as the same run, bit for bit."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from usvbook.deep_clustering import hum, speech_front_end
from usvbook.embedding_network import load_model, read_tensors, write_tensors
from usvbook.mixtures import Recipe, SoundBank, draw_mixtures, make_batch
from usvbook.training import (
    batch_loss,
    load_run,
    new_run,
    noise_generator,
    train,
    train_step,
    trained_model,
)

RECIPE = Recipe(
    n_steps=60, hidden=8, n_dims=4, curriculum=((0.5, 40, 3), (1.0, 80, 2)), input_noise_sd=0.2
)
GAIN = replace(
    RECIPE, n_steps=10, curriculum=((1.0, 60, 2),), n_sources=(2, 3), objective="masks",
    rule="mixture", score_weight=2.0, unfolded=1, floor_db=30.0,
)  # fmt: skip
PROGRAM = """
import sys
import test_training
test_training.train(
    test_training.bank(), test_training.RECIPE, sys.argv[1], checkpoint_s=0.0,
    report=lambda run: print(run.step, flush=True),
)
"""


def bank() -> SoundBank:
    sounds = [hum(2, 8_000, i) for i in range(4)]
    return SoundBank(sounds, [0, 0, 1, 2], speech_front_end())


def same_weights(a, b) -> bool:
    pairs = zip(a.net.state_dict().values(), b.net.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.fixture(scope="module")
def uninterrupted():
    torch.set_num_threads(1)
    return train(bank(), RECIPE)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_stopped_run_goes_on_as_the_same(tmp_path: Path, uninterrupted, how: str) -> None:
    path = tmp_path / "run.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        cwd=Path(__file__).parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    steps = 0
    while steps < 20:
        steps = int(process.stdout.readline())
    process.send_signal(getattr(signal, how))
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how == "SIGKILL" else 0)
    stopped = load_run(path)
    assert 0 < stopped.step < RECIPE.n_steps
    assert not same_weights(stopped, uninterrupted)
    resumed = train(bank(), RECIPE, path)
    assert resumed.step == RECIPE.n_steps
    assert same_weights(resumed, uninterrupted)
    assert [one["loss"] for one in resumed.history] == [
        one["loss"] for one in uninterrupted.history
    ]


def test_gain_of_masks_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """The objective that draws starts for its k-means: stopped and resumed, all the same."""
    path = tmp_path / "run.safetensors"
    assert train(bank(), GAIN, path, time_limit_s=0.0).step == 1
    resumed, plain = train(bank(), GAIN, path), train(bank(), GAIN)
    assert resumed.step == plain.step == 10 and same_weights(resumed, plain)
    assert all(np.isfinite(one["loss"]) for one in plain.history) and plain.skipped == 0
    assert not same_weights(plain, train(bank(), replace(GAIN, objective="affinity")))


def test_checkpoint_of_version_0_1_goes_on(tmp_path: Path, uninterrupted) -> None:
    """Its recipe says nothing of the objective."""
    path = tmp_path / "run.safetensors"
    train(bank(), RECIPE, path, time_limit_s=0.0)
    tensors, header = read_tensors(path)
    new = ("objective", "centres", "unfolded", "softness", "mask_floor_db", "score_weight")
    header["recipe"] = {k: v for k, v in header["recipe"].items() if k not in new}
    write_tensors(path, tensors, header)
    assert same_weights(train(bank(), RECIPE, path), uninterrupted)


def test_same_seed_same_bytes(tmp_path: Path, uninterrupted) -> None:
    again = train(bank(), RECIPE)
    for run in (again, uninterrupted):
        run.seconds = 0.0
    first = trained_model(uninterrupted).save(tmp_path / "a.safetensors").read_bytes()
    assert trained_model(again).save(tmp_path / "b.safetensors").read_bytes() == first


def test_thread_count_changes_nothing(uninterrupted) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert same_weights(train(bank(), RECIPE), uninterrupted)
    finally:
        torch.set_num_threads(threads)


PROCESSES = """
import sys

import lightning
from test_training import RECIPE, bank
from usvbook.training import begin_or_resume, lightning_module, save_run

sounds, last, path = bank(), int(sys.argv[1]), sys.argv[2]
run = begin_or_resume(sounds, RECIPE, path)
options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
trainer = lightning.Trainer(
    devices=2, accelerator="cpu", strategy="ddp", max_epochs=1, max_steps=last, **options
)
trainer.fit(lightning_module(run, sounds, checkpoint=path))
save_run(run, f"{path}.{trainer.global_rank}")
"""


@pytest.mark.skipif(not importlib.util.find_spec("lightning"), reason="needs lightning")
def test_two_processes(tmp_path: Path) -> None:
    """Each step goes down the mean gradient of both, also where the run is resumed."""
    script, here = tmp_path / "script.py", str(Path(__file__).parent)
    script.write_text(PROCESSES)

    def steps(n: int, name: str):
        subprocess.run(
            [sys.executable, "-W", "ignore", str(script), str(n), str(tmp_path / name)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": here},
            check=True,
        )
        return load_run(tmp_path / name)

    assert steps(4, "run").step == 4 and steps(5, "run").step == 9
    ranks = [load_run(tmp_path / f"run.{rank}") for rank in (0, 1)]
    assert same_weights(*ranks) and ranks[0].history != ranks[1].history  # of other mixtures

    sounds, plain = bank(), new_run(bank(), RECIPE)
    for step in range(9):

        def both(loss, step=step):
            for seed in (RECIPE.seed, RECIPE.seed + 1):
                own = replace(RECIPE, seed=seed)
                batch = make_batch(draw_mixtures(sounds, own, step), plain.front, own)
                noise = noise_generator(own, step, "cpu")
                (batch_loss(plain.net, batch, own, noise).loss / 2).backward()

        batch = make_batch(draw_mixtures(sounds, RECIPE, step), plain.front, RECIPE)
        train_step(plain.net, plain.optimizer, batch, RECIPE, step, both)
    for a, b in zip(plain.net.parameters(), ranks[0].net.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("moment", ["write", "flush"])
def test_full_disk_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch, moment: str) -> None:
    path = tmp_path / "run.safetensors"
    train(bank(), RECIPE, path, time_limit_s=0.0)
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync" if moment == "flush" else "replace", full)
    with pytest.raises(OSError, match="No space left"):
        train(bank(), RECIPE, path, time_limit_s=0.0)
    assert path.read_bytes() == before and [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("fault", ["silent", "clipped", "nobody"])
def test_odd_sounds_never_give_nan(fault: str) -> None:
    sounds = [hum(2, 8_000, i) for i in range(3)]
    if fault == "clipped":
        sounds = [np.clip(20 * x, -1, 1) for x in sounds]
    else:  # digital silence in most of each
        for x in sounds:
            x[1_000:] = 0
    recipe = RECIPE if fault != "nobody" else Recipe(**{**RECIPE.__dict__, "rule": "all"})
    with_odd = SoundBank(sounds, range(3), speech_front_end())
    run = train(with_odd, recipe, time_limit_s=2.0)
    assert all(torch.isfinite(p).all() for p in run.net.parameters())
    assert run.skipped == 0
    assert torch.isfinite(draw_mixtures(with_odd, recipe, 3).mixture.abs()).all()


def test_time_limit_is_kept() -> None:
    start = time.monotonic()
    run = train(bank(), Recipe(**{**RECIPE.__dict__, "n_steps": 100_000}), time_limit_s=1.0)
    assert run.step < 100_000 and time.monotonic() - start < 10


def script(name: str):
    """A script of the folder `training` as a module."""
    path = Path(__file__).parent.parent / "training" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"training_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_script_for_talkers_trains_measures_and_writes(tmp_path: Path, monkeypatch) -> None:
    """All that made the network for talkers and its tables, on hums and with a few steps."""
    rows = []
    for k in range(6):
        split = "train" if k < 3 else "dev"
        sf.write(tmp_path / f"{k}.flac", hum(1.5, 8_000, k), 8_000)
        rows.append(f"{k}.flac,{split},{k},{'FM'[k % 2]}")
    (tmp_path / "speech.csv").write_text("file,split,speaker,sex\n" + "\n".join(rows))
    talkers = script("talkers")
    networks = {"shipped": talkers.Network(RECIPE)}
    networks["balanced"] = talkers.Network(RECIPE, "balanced", "shipped")
    networks["gain"] = talkers.Network(GAIN, start="shipped", more=True)
    more = tmp_path / "more.csv"
    more.write_text(
        "audio_path,speaker,source,licence,kind\n"
        "0.flac,libri_0,LibriTTS,CC BY 4.0,sentence\n"
        "1.flac,vctk_p1,VCTK,CC BY 4.0,joined words\n"
    )
    monkeypatch.setattr(talkers, "NETWORKS", networks)
    monkeypatch.setattr(talkers, "ROOT", tmp_path)
    monkeypatch.setattr(talkers, "SHIPPED", tmp_path / "talkers.safetensors")
    monkeypatch.setattr(talkers, "RESULTS", tmp_path / "talkers.csv")
    words = [str(tmp_path / "speech.csv"), "--work", str(tmp_path / "work"), "--mixtures", "1"]
    monkeypatch.setattr(sys, "argv", ["talkers.py", *words, "--tables"])
    talkers.main()
    card = load_model(tmp_path / "talkers.safetensors").card
    assert card["steps"] == 60 and "2 talkers, open set, global k-means, hard" in card["figures"]
    table = pd.read_csv(tmp_path / "talkers.csv", comment="#")
    assert {"shipped", "balanced", "gain", "none"} == set(table["network"]) and table[
        "mean"
    ].notna().all()
    kept = (tmp_path / "talkers.safetensors").read_bytes()
    speech = [tmp_path / "speech.csv", more]
    with_more = talkers.bank_of(speech, "train", "whole", "first", more=True)
    assert with_more.names.tolist() == ["0", "1", "2", "vctk_p1"]  # libri_0 is 0
    assert with_more.owners.tolist() == [0, 1, 2, 0, 0, 1, 2, 0, 3, 0, 1, 2, 0]  # slow, own, fast
    assert with_more.lengths[0] > with_more.lengths[4] > with_more.lengths[9]
    model = talkers.trained("gain", speech, tmp_path / "again", "cpu", None)
    assert "VCTK, 1 speakers, CC BY 4.0" in model.card["licence"]
    assert "four talkers" in model.card["limits"] and model.card["recipe"]["objective"] == "masks"
    talkers.main()  # nothing is left to do
    assert (tmp_path / "talkers.safetensors").read_bytes() == kept
    monkeypatch.setattr(sys, "argv", ["talkers.py", *words, "--only", "balanced", "--update"])
    scores = tmp_path / "work" / "balanced.scores.csv"
    pd.read_csv(scores).assign(improvement_db=7.0).to_csv(scores, index=False)
    talkers.main()
    again = pd.read_csv(tmp_path / "talkers.csv", comment="#")
    others = again["network"] != "balanced"
    assert (again.loc[~others, "mean"] == 7).all()
    pd.testing.assert_frame_equal(again[others], table[others])
    assert again.iloc[:, :6].equals(table.iloc[:, :6])  # in the same places


def test_script_for_mice_trains_measures_and_writes(tmp_path: Path, monkeypatch) -> None:
    """All runs that made the network for mice, with a few calls and steps."""
    mice = script("mice")
    calls, noise = mice.call_bank, mice.noise_bank
    monkeypatch.setattr(mice, "call_bank", lambda n, k, *given: calls(2, 4, *given))
    monkeypatch.setattr(mice, "noise_bank", lambda n, *given: noise(2, *given))
    out = tmp_path / "mice.safetensors"
    words = [
        "--steps",
        "10",
        "--mask-steps",
        "3",
        "--hidden",
        "4",
        "--mixtures",
        "1",
        "--out",
        str(out),
    ]
    words += ["--checkpoints", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["mice.py", *words])
    mice.main()
    model = load_model(out)
    assert model.card["steps"] == 3 and len(model.card["figures"]) == 4
    assert model.card["recipe"]["objective"] == "masks"
    assert model.net.config["hidden"] == 4 and model.front.hop_samples == 256
