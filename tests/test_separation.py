"""A recording taken apart: any length, rate and format; all results or none."""

import json
import os

import numpy as np
import pytest
import soundfile
import torch
from conftest import run_command, usvbook

from usvbook import results_folder, separation_runs
from usvbook.deep_clustering import mouse_front_end, speech_front_end
from usvbook.embedding_network import EmbeddingNet, Model
from usvbook.files import refused
from usvbook.recordings import Recording
from usvbook.separation import (
    Separation,
    Settings,
    SourceCount,
    plot_separation,
    separate,
    separate_file,
)
from usvbook.separation_runs import separate_recording

SHORT = {"block_frames": 40, "overlap_frames": 10}  # blocks of a third of a second of speech
FRONTS = {rate: speech_front_end(rate) for rate in (8_000, 11_025, 44_100)}
FRONTS |= {rate: mouse_front_end(rate) for rate in (250_000, 384_000)}


def network(rate, hop_samples=None):
    """A small network that means nothing: every shape and every number must be right."""
    torch.manual_seed(0)
    front = FRONTS[rate]
    if hop_samples:
        front = type(front)(rate, front.n_fft, hop_samples, front.band_hz)
    return Model(front, EmbeddingNet(front.n_bins, hidden=4, layers=1, n_dims=3), {})


def sound(n_samples, loudest="first", seed=0):
    """Noise, a third of it loud."""
    x = np.random.default_rng(seed).normal(0, 0.02, n_samples)
    third = {"first": slice(None, n_samples // 3), "last": slice(-(n_samples // 3) or None, None)}
    x[third.get(loudest, slice(n_samples // 3, 2 * n_samples // 3))] *= 5
    return x


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network for 8 kHz in a file."""
    return network(8_000).save(tmp_path_factory.mktemp("weights") / "small.safetensors")


def content(folder):
    """Every file in a folder, with what it holds."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


# ------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize(
    ("rate", "half"), [*((rate, False) for rate in FRONTS), (250_000, True), (384_000, True)]
)
def test_any_length(tmp_path, rate, half):
    """Sources as long as the mixture, adding up to it, and a picture of every piece of them."""
    model = network(rate, FRONTS[rate].n_fft // 2 if half else None)
    hop, window = model.front.hop_samples, model.front.n_fft
    size, step = 40 * hop, 30 * hop
    lengths = {window, window + 1, 10 * hop, size // 2 + 7, size + step + hop - 1}
    lengths |= {size + k * step + more for k in (0, 2) for more in (-1, 0, 1, 10 * hop)}
    for n_samples in sorted(lengths):
        path, pieces = tmp_path / f"{n_samples}.wav", []
        soundfile.write(path, sound(n_samples), rate, "FLOAT")
        given = Recording(path)
        settings = Settings(n_sources=2, **SHORT)
        files, _ = separate_file(given, model, tmp_path / f"{n_samples}", settings, pieces.append)
        parts = np.stack([soundfile.read(one, dtype="float32")[0] for one in files])
        assert parts.shape == (2, n_samples)
        assert np.abs(parts.sum(0) - given.read()).max() < 5e-6 * np.abs(given.read()).max()
        assert np.abs(parts).max() < 3 * np.abs(given.read()).max(), "a click"
        ends = np.cumsum([piece.signals.shape[1] for piece in pieces])
        frames = np.cumsum([piece.masks.shape[1] for piece in pieces])
        assert [piece.first_sample for piece in pieces] == [0, *ends[:-1]]
        assert [piece.first_frame for piece in pieces] == [0, *frames[:-1]]
        assert ends[-1] == n_samples and frames[-1] == 1 + n_samples // hop
        for piece in pieces if n_samples in (window, size + step - 1) else pieces[:1]:
            listener = separation_runs.Listener(model.front)
            listener(piece)
            assert listener.piece is piece
            count = SourceCount(2, 1.0, np.zeros(0))
            shown = Separation(piece.signals, piece.masks.numpy(), count, model.front)
            axes = plot_separation(shown, [Blank(), Blank()])
            assert [len(ax.drawn.T) for ax in axes] == 2 * [piece.masks.shape[1]]


class Blank:
    """Axes that keep what is drawn on them, and take no time."""

    def imshow(self, values, **_):
        self.drawn = np.asarray(values)

    def __getattr__(self, name):
        return lambda *given, **how: None


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channel", [0, 3, "mean"])
def test_any_format(tmp_path, subtype, channel):
    """The sources add up to the channel taken, as closely as 32 bits hold it."""
    x = np.stack([sound(3_000, seed=k) for k in range(4)], 1)
    soundfile.write(tmp_path / "four.wav", x, 8_000, subtype)
    given = Recording(tmp_path / "four.wav", channel)
    files, _ = separate_file(
        given, network(8_000), tmp_path / "out", Settings(n_sources=3, **SHORT)
    )
    parts = np.stack([soundfile.read(one)[0] for one in files])
    assert np.abs(parts.sum(0) - given.read()).max() < 5e-6 * np.abs(given.read()).max()


def test_threads_change_nothing():
    """One thread at work, whatever PyTorch was set to, and the same bytes."""
    model, seen, before = network(8_000), [], torch.get_num_threads()
    embed = model.embed
    model.embed = lambda *given: (seen.append(torch.get_num_threads()), embed(*given))[1]
    try:
        found = []
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(separate(sound(8_000), model, 2, **SHORT).signals.tobytes())
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] and set(seen) == {1}


# ------------------------------------------------------------------------------- the results folder


@pytest.mark.parametrize("loudest", ["first", "middle", "last"])
def test_loudest_piece(tmp_path, weights, loudest):
    """The picture shows the loudest piece, wherever it lies; the record lists what is there."""
    path, out = tmp_path / "two.wav", tmp_path / "apart"
    soundfile.write(path, sound(3 * 8_000, loudest), 8_000)
    done = separate_recording(path, out, 2, weights, **SHORT)
    record = json.loads(done.record.read_text())
    assert [p.name for p in done.sources] == ["two_source1.wav", "two_source2.wav"]
    assert soundfile.info(done.sources[0]).frames == 3 * 8_000
    assert done.picture.stat().st_size > 9999
    assert set(content(out)) == set(record["files"]) and len(record["files"]) == 4
    assert record["command"] == "separate" and record["inputs"][0]["audio_path"] == str(path)
    assert record["inputs"][0]["sha256"] == Recording(path).content_hash()
    assert {"usvbook", "python"} <= set(record["versions"]) and "T" in record["date"]
    assert record["parameters"]["block_frames"] == 40 and record["parameters"]["n_sources"] == 2
    assert record["parameters"]["model"] == str(weights) and record["random_state"] == 0
    assert {"separate", "picture"} <= set(record["seconds"])
    assert record["metrics"]["n_joins"] == 12


def test_a_picture_ends_nothing(tmp_path, weights, monkeypatch, capsys):
    """Whatever happens while it is drawn, the sources are there, and the record says so."""
    soundfile.write(tmp_path / "two.wav", np.stack([sound(4_000)] * 2, 1), 8_000)
    monkeypatch.setattr(separation_runs, "plot_separation", lambda *_: 1 / 0)
    done = separate_recording(tmp_path / "two.wav", tmp_path / "out", model=weights, **SHORT)
    notes = json.loads(done.record.read_text())["notes"]
    for words in ("ZeroDivisionError", "2 channels, channel 0", "estimated"):
        assert any(words in line for line in notes) and words in capsys.readouterr().err + str(
            notes
        )
    assert done.picture is None and done.sources[0].exists()
    assert not [name for name in content(tmp_path / "out") if name.endswith((".png", ".part"))]


def test_refused_without_harm(tmp_path, weights):
    """A second run is refused; with force it replaces its own results, and nobody else's."""
    path, out = tmp_path / "two.wav", tmp_path / "out"
    soundfile.write(path, sound(4_000), 8_000)
    separate_recording(path, out, 3, weights, **SHORT)
    before = content(out)
    with refused("out", "exists"):
        separate_recording(path, out, 2, weights, **SHORT)
    with refused("two_source1.wav", "is itself a result"):
        separate_recording(out / "two_source1.wav", out, 2, weights, force=True, **SHORT)
    assert content(out) == before
    (out / "notes.txt").write_text("mine")
    separate_recording(path, out, 2, weights, force=True, **SHORT)
    assert set(before) - set(content(out)) == {"two_source3.wav"}
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("with_results", [False, True])
@pytest.mark.parametrize(
    ("fault", "how"),
    [
        ("not finite", {"with_nan": True}),
        ("device 'warp'", {"device": "warp"}),
        ("random_state", {"random_state": -1}),
        ("no such file", {"model": "none.safetensors"}),
        ("no channel 2", {"channel": 2}),
        ("n_sources must be from 1", {"n_sources": 0}),
    ],
)
def test_a_failed_run_leaves_nothing(tmp_path, weights, fault, how, with_results):
    """No file of a run that failed is left, and results from before stay as they were."""
    path, out = tmp_path / "two.wav", tmp_path / "out"
    soundfile.write(path, sound(4_000), 8_000)
    if with_results:
        separate_recording(path, out, 2, weights, **SHORT)
    if how.get("with_nan"):
        x = sound(8_000)
        x[7_000], how = np.nan, {}
        soundfile.write(path, x, 8_000, "FLOAT")
    before = content(tmp_path)
    with refused(fault):
        separate_recording(
            path, out, **({"n_sources": 2, "model": weights, "force": True} | SHORT | how)
        )
    assert content(tmp_path) == before and out.exists() == with_results


def test_killed_at_every_move(tmp_path, weights, monkeypatch):
    """A run that is killed while its results are moved: the next one finds the old ones whole."""
    monkeypatch.setattr(separation_runs, "draw_apart", lambda *_: None)
    path, out = tmp_path / "two.wav", tmp_path / "out"
    soundfile.write(path, sound(4_000), 8_000)
    separate_recording(path, out, 2, weights, **SHORT)
    old, moved = content(out), os.replace

    class Killed(BaseException):
        pass

    for moves in range(20):
        left = iter(range(moves))

        def move_some(one, other, left=left):
            if next(left, None) is None:
                raise Killed
            moved(one, other)

        with monkeypatch.context() as dying:
            dying.setattr(results_folder, "undo_move", lambda out: None)
            dying.setattr(os, "replace", move_some)
            try:
                separate_recording(path, out, 3, weights, force=True, **SHORT)
                break
            except Killed:
                pass
        with refused("exists"):
            separate_recording(path, out, 3, weights, **SHORT)
        assert content(out) == old
    assert moves == 8 and set(content(out)) == {*old, "two_source3.wav"}  # a list, 3 old, 4 new


# ------------------------------------------------------------------------------------- the command


def test_command(tmp_path, monkeypatch):
    """Ten seconds, loud at the beginning: two files, a picture, a record; not twice."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("two.wav", sound(80_000), 8_000)
    said = usvbook("separate", "two.wav", "-n", 2, "-o", "apart")
    for name in ("two_source1.wav", "two_source2.wav", "two_masks.png", "run.json"):
        assert f"written: {os.path.join('apart', name)}" in said
        assert (tmp_path / "apart" / name).exists()
    before = content(tmp_path)
    code, said = run_command("separate", "two.wav", "-n", 2, "-o", "apart")
    assert code == 1 and "exists" in said and content(tmp_path) == before
