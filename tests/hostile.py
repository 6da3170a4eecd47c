"""Files from strangers: what is read, valid examples of it, and edits that make them invalid.

Used by `test_hostile.py` (random edits) and `fuzz.py` (edits led by the code that they reach).
A reader may return something, or refuse in one line with its own kind of error; it may do nothing
else, and it writes nothing.
"""

import contextlib
import io
import json
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import soundfile
import torch

from usvbook.call_files import CallFileError, read_calls, write_calls
from usvbook.deep_clustering import speech_front_end
from usvbook.embedding_network import EmbeddingNet, Model, WeightsError, load_model
from usvbook.files import Fault
from usvbook.marks import FORMATS, read_marks, sniff, write_marks
from usvbook.mixtures import Recipe, SoundBank, TrainingError, list_sounds
from usvbook.recordings import Recording, RecordingError
from usvbook.repertoire import Repertoire
from usvbook.repertoire_files import RepertoireError
from usvbook.segmentation import MultitaperSegmenter
from usvbook.separation_runs import read_recipe
from usvbook.settings import read_settings, read_toml
from usvbook.synthesis import synthesize
from usvbook.training import load_run, new_run, save_run

RATE = 250_000
Edit = tuple[
    int, float, int, bytes
]  # part, place in it (0 to 1), bytes to take out, bytes to put in


@dataclass
class Target:
    """One kind of file: how it is read, how refused, and an example in parts."""

    read: Callable[[Path], object]
    refused: tuple[type[Exception], ...]
    suffix: str
    parts: list[bytes]
    join: Callable[[list[bytes]], bytes]  # parts to a file, with the right checksums

    def edited(self, edits: list[Edit]) -> bytes:
        """The example after some edits."""
        parts = list(self.parts)
        for which, place, n_out, new in edits:
            part = parts[which % len(parts)]
            k = min(int(place * len(part)), len(part))
            parts[which % len(parts)] = part[:k] + new + part[k + n_out :]
        return self.join(parts)

    def check(self, content: bytes, folder: Path) -> str | None:
        """Read such a file: None if it was taken, else the one line that refuses it."""
        path = folder / f"file{self.suffix}"
        path.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.read(path)
        except self.refused as error:
            line = str(error)
            assert line and "\n" not in line and len(line) < 2000, line
            return line
        finally:
            assert [p.name for p in folder.iterdir()] == [path.name]  # nothing was written
        return None


def plain(parts: list[bytes]) -> bytes:
    return b"".join(parts)


def zipped(names: list[str]) -> Callable[[list[bytes]], bytes]:
    """What puts the entries of an archive together again."""

    def join(parts: list[bytes]) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, part in zip(names, parts, strict=True):
                archive.writestr(name, part)
        return content.getvalue()

    return join


def archive(path: Path) -> tuple[list[bytes], Callable[[list[bytes]], bytes]]:
    """The entries of an archive, and what puts them together."""
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        return [file.read(name) for name in names], zipped(names)


def tensors(path: Path) -> tuple[list[bytes], Callable[[list[bytes]], bytes]]:
    """Header and numbers of a safetensors file; the length before them follows the header."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return [
        content[8 : 8 + size],
        content[8 + size :],
    ], lambda parts: struct.pack("<Q", len(parts[0])) + parts[0] + parts[1]


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a WAV file."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def sound_files(samples: bytes) -> dict[str, list[bytes]]:
    """WAV files whose headers have much that can be edited: sizes, chunks, dates, factors."""
    coding = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))
    bext = chunk(b"bext", bytes(320) + b"2024-01-3122:45:00" + bytes(264))
    text = b"GUANO|Version: 1.0\nTimestamp: 2024-01-31T22:45:00.5+01:00\nTE: 1\nSamplerate: 250000"
    guano, list_ = chunk(b"guan", text), chunk(b"LIST", b"INFOICMT\4\0\0\0note")
    size, unknown = struct.pack("<I", len(samples)), b"\xff" * 4
    large = chunk(b"ds64", struct.pack("<QQQI", len(samples) + 1000, len(samples), 2000, 0))
    return {
        "wav with chunks": [
            b"RIFF" + struct.pack("<I", len(samples) + 1000) + b"WAVE", bext, coding,
            b"data" + size, samples, list_, guano,
        ],
        "wav without a length": [
            b"RIFF\0\0\0\0WAVE", coding, b"data\0\0\0\0", samples,
        ],
        "RF64": [b"RF64" + unknown + b"WAVE", large, coding, b"data" + unknown, samples, guano],
    }  # fmt: skip


def read_all(path: Path) -> None:
    """All samples, block by block, at most a minute."""
    recording = Recording(path)
    for (first, _), _ in zip(recording.blocks(2**16, 0), range(200), strict=False):
        assert 0 <= first <= recording.n_samples


def read_and_use(path: Path) -> None:
    """A repertoire, and one call assigned to it."""
    repertoire = Repertoire.load(path)
    repertoire.predict(np.ones((1, repertoire.n_features_in_), np.float32))


MARKS = pd.DataFrame(
    {
        "audio_path": "m7.wav", "onset_s": [0.125, 0.2], "offset_s": [0.163, 0.25],
        "low_freq_hz": [61_200.0, 55_000.0], "high_freq_hz": [74_800.0, 88_500.0],
        "label": ["up", 'a "b"'],
    }
)  # fmt: skip
FOREIGN = {  # formats that are read, but not written
    "table": "file;begin_ms;end_ms\na.wav;125,0;163,0\n",
    "mupet": "Syllable start time (sec),Syllable end time (sec),minimum frequency (kHz),"
    "maximum frequency (kHz)\n0.1,0.2,61.2,74.8\n",
    "usvseg": "#,start,end,duration,maxfreq\n1,0.1,0.2,0.1,70\n",
    "usv-playpen": "usv_id,start,stop,emitter\n0000,0.1,0.2,m7\n",
    "boris": "Observation id\ta\n\nTime\tSubject\tBehavior\tStatus\n1\tm\tsniff\tSTART\n"
    "2\tm\tsniff\tSTOP\n3\tm\tpoke\tPOINT\n",
    "sv-svl": '<?xml version="1.0"?>\n<!DOCTYPE sonic-visualiser>\n<sv><data><model '
    'sampleRate="250000" subtype="box" units="Hz" dataset="0"/><dataset id="0">'
    '<point frame="31250" value="61200" '
    'duration="9500" extent="13600" label="up"/></dataset></data></sv>',
}
SHEETS = {  # formats in workbooks
    "deepsqueak-xlsx": [
        ["File", "Label", "Accepted", "Begin Time (s)", "End Time (s)", "Low Freq (kHz)",
         "High Freq (kHz)"],
        ["m7.mat", "up", True, 0.1, 0.2, 61.2, 74.8],
    ],
    "vocalmat": [
        ["Start_time", "End_time", "min_freq_main", "max_freq_main", "Class"],
        [0.1, 0.2, 61_200, 74_800, "up_fm"],
    ],
}  # fmt: skip
COLUMNS = {"audio_path": "file", "onset_s": "begin_ms/1000", "offset_s": "end_ms/1000"}


def reader_of(fmt: str) -> Callable[[Path], object]:
    """What reads marks of a format, after its guess has looked at the file."""

    def read(path: Path) -> object:
        with contextlib.suppress(Fault):
            sniff(path)
        return read_marks(path, fmt, columns=COLUMNS if fmt == "table" else None)

    return read


def marks_targets(folder: Path) -> dict[str, Target]:
    """A file of marks of every format."""
    made = {}
    for fmt, form in FORMATS.items():
        path = folder / f"m7 {fmt}{form.extension}"
        if fmt in SHEETS:
            book = openpyxl.Workbook()
            for row in SHEETS[fmt]:
                book.active.append(row)
            book.save(path)
            parts, join = archive(path)
        else:
            if form.writes:
                write_marks(MARKS, path, fmt)
            else:
                path.write_text(FOREIGN[fmt])
            content = path.read_bytes()
            k = 2048 if len(content) > 4096 else len(content) // 2
            parts, join = [content[:k], content[k:]], plain
        made[f"marks {fmt}"] = Target(reader_of(fmt), (Fault,), form.extension, parts, join)
    return made


def targets() -> dict[str, Target]:
    """Every kind of file that comes from outside, with a valid example."""
    made: dict[str, Target] = {}
    rng = np.random.default_rng(0)
    x, _ = synthesize(1.0, 4, RATE, 25, random_state=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, subtype in (("wav", "PCM_16"), ("flac", "PCM_16"), ("wav", "FLOAT")):
            path = folder / f"song_{subtype}.{kind}"
            soundfile.write(path, x[:4000], RATE, subtype)
            content = path.read_bytes()
            parts = [content[:64], content[64:]]
            made[f"{kind} {subtype}"] = Target(
                read_all, (RecordingError,), f".{kind}", parts, plain
            )
        for name, parts in sound_files((x[:2000] * 2**15).astype("<i2").tobytes()).items():
            made[name] = Target(read_all, (RecordingError,), ".wav", parts, plain)
        soundfile.write(folder / "flac.flac", x[:9000], RATE)
        flac = (folder / "flac.flac").read_bytes()
        flac = flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]
        parts = [flac[:42], flac[42:-200], flac[-200:]]
        made["flac without a length"] = Target(read_all, (RecordingError,), ".flac", parts, plain)
        soundfile.write(folder / "song.wav", x, RATE)
        calls = MultitaperSegmenter().segment(Recording(folder / "song.wav"))
        write_calls(calls, folder / "calls.npz")
        made["calls of a recording"] = Target(
            lambda path: list(read_calls(path).patches), (CallFileError,), ".npz",
            *archive(folder / "calls.npz"),
        )  # fmt: skip
        X = np.abs(rng.normal(size=(12, 64 * 64))).astype(np.float32)
        Repertoire(n_clusters=2, tau=None).fit(X).save(folder / "r.npz")
        made["repertoire"] = Target(
            read_and_use, (RepertoireError,), ".npz", *archive(folder / "r.npz")
        )
        front = speech_front_end()
        net = EmbeddingNet(front.n_bins, hidden=2, layers=1, n_dims=2)
        Model(front, net, {"purpose": "none"}).save(folder / "model.safetensors")
        made["weights"] = Target(
            load_model, (WeightsError,), ".safetensors", *tensors(folder / "model.safetensors")
        )
        sounds = [rng.normal(size=8_000).astype(np.float32) for _ in range(2)]
        recipe = Recipe(n_steps=2, hidden=2, layers=1, n_dims=2)
        save_run(new_run(SoundBank(sounds, ["a", "b"], front), recipe), folder / "run.safetensors")
        made["checkpoint"] = Target(
            load_run, (WeightsError,), ".safetensors", *tensors(folder / "run.safetensors")
        )
    table = b"path,source,split\na/1.wav,ann,train\nb/2.wav,ben,train\nc/3.wav,eve,dev\n"
    made["list of sounds"] = Target(
        lambda path: list_sounds(path, "train"), (TrainingError,), ".csv", [table], plain
    )
    config = b'tau = 0.8\nlam = 0.3\nn_clusters = 20\nsegmenter = "mupet"\npicture = "cut"\n'
    made["settings"] = Target(
        lambda path: read_settings({}, path), (ValueError,), ".toml", [config], plain
    )
    lines = [f"{k} = {json.dumps(v)}" for k, v in {"hidden": 8, "activation": "tanh"}.items()]
    lines += ["curriculum = [[0.5, 50, 4], [1.0, 100, 2]]", "background_db = [0, 3.5]", "seed = 1"]
    made["recipe"] = Target(
        lambda path: read_recipe(read_toml(path)),
        (ValueError,),
        ".toml",
        ["\n".join(lines).encode()],
        plain,
    )
    with tempfile.TemporaryDirectory() as name:
        made |= marks_targets(Path(name))
    torch.set_num_threads(1)
    return made
