"""Train and measure the networks for people who talk at once.

    python training/talkers.py SPEECH.csv MORE.csv --work FOLDER            the network shipped
    python training/talkers.py SPEECH.csv MORE.csv --work FOLDER --update   its rows of the tables
    python training/talkers.py SPEECH.csv MORE.csv --work FOLDER --tables   all networks, all tables
    python training/talkers.py SPEECH.csv --work FOLDER --only paper --device cuda

SPEECH.csv has the columns file, speaker, split (train, dev) and sex, one recording per reader, and
lies beside its folders of recordings: 44 minutes of LibriSpeech at 8 kHz, 211 readers to train on
and 40 others. The first three quarters of each training recording are learned from; mixtures of the
last quarters are the paper's closed speaker set, those of the other readers its open speaker set.

Further lists, with the columns audio_path, speaker, source (the collection) and licence, are for
training only, and for those networks only that say so: `shipped` goes on from `affinity`, with all
talkers of all lists, and learns what its clustering gains instead of affinities. Its sounds are
heard at three speeds, words that were joined (column kind) at their own. Its card gives credit by
collection. A speaker `libri_123` is LibriSpeech's 123, who may be in two lists.

FOLDER keeps checkpoints and finished networks, so that the same command goes on after any
interruption; a network that lies there as NAME.safetensors is finished. `--tables` trains one
network for every row of the paper's Tables 2 and 3, measures all of them on mixtures of two and of
three, and writes `nbs/tutorials/talkers.csv`, on which the tutorial of that name rests. The network
`paper` is of the paper's size (2 x 600, 40 dimensions, 18 million weights), and meant for a
graphics card: mixing happens there too, a run of `--hours` is cut short at that time, and what it
leaves is a file of 37 MB.
"""

import argparse
import json
import platform
import re
import time
import warnings
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.signal import resample_poly
from tqdm import tqdm

from usvbook.deep_clustering import FrontEnd, speech_front_end
from usvbook.embedding_network import Model, load_model
from usvbook.evaluation import (
    evaluate,
    ideal_separator,
    known_mixtures,
    model_separators,
    summarise,
    unseparated,
)
from usvbook.mixtures import Recipe, SoundBank, list_sounds, read_sounds
from usvbook.sparse_nmf import oracle_separator, speaker_spectra
from usvbook.training import train, trained_model

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "usvbook" / "weights" / "talkers.safetensors"
RESULTS = ROOT / "nbs" / "tutorials" / "talkers.csv"
LEARNED = 0.75  # share of each training recording that is learned from

BASE = Recipe(n_steps=6_000, curriculum=((0.2, 100, 8), (1.0, 400, 2)))
SMALL = replace(BASE, n_steps=300)  # one row of a table
MORE = replace(SMALL, n_steps=120, learning_rate=1e-3)  # goes on from another network


@dataclass(frozen=True)
class Network:
    """What is trained, on whom, and from where."""

    recipe: Recipe
    readers: str = "whole"  # "whole", "balanced" or "female"
    start: str | None = None  # network that it begins with
    more: bool = False  # also the talkers of further lists


SPEEDS = (0.92, 1.0, 1.08)
GAIN = replace(
    BASE, n_steps=4_500, curriculum=((1.0, 400, 2),), speed=0.0, n_sources=(2, 2, 3),
    rule="mixture", objective="masks", score_weight=5.0, learning_rate=1e-3, seed=11,
)  # fmt: skip
NETWORKS = {
    "affinity": Network(BASE),
    "shipped": Network(GAIN, start="affinity", more=True),
    **{f"K = {k}": Network(replace(SMALL, n_dims=k)) for k in (5, 10, 20, 40, 60)},
    "K = 40 logistic": Network(replace(MORE, n_dims=40, activation="logistic"), start="K = 40"),
    "whole": Network(replace(MORE, n_dims=40), start="K = 40"),
    "balanced": Network(replace(MORE, n_dims=40), "balanced", "K = 40"),
    "female": Network(replace(MORE, n_dims=40), "female", "K = 40"),
    "paper": Network(
        replace(
            BASE, n_steps=16_000, hidden=600, n_dims=40, learning_rate=1e-3,
            curriculum=((0.5, 100, 128), (1.0, 400, 64)),
        )
    ),
}  # fmt: skip
PAPER_SETTINGS = {"softness": 0.0, "floor_db": 40.0}  # hard masks; bins above -40 dB
OUR_SETTINGS = {"softness": 4.0, "floor_db": 20.0}


def sexes(speech: list[Path]) -> dict[str, str]:
    """F or M by speaker of the first list."""
    return pd.read_csv(speech[0], dtype=str).set_index("speaker")["sex"].to_dict()


def bank_of(
    speech: list[Path], split: str, readers: str, part: str, device: str = "cpu", more: bool = False
) -> SoundBank:
    """Sounds of a split: whole recordings, or the part that is learned from, or the other.

    With `more` those of the further lists too, and all at three speeds.
    """
    about, front = sexes(speech), speech_front_end()
    sounds, names = read_sounds(list_sounds(speech[0], split), front)
    if part == "first":
        sounds = [x[: round(LEARNED * len(x))] for x in sounds]
    elif part == "last":
        sounds = [x[round(LEARNED * len(x)) :] for x in sounds]
    if readers == "female":
        kept = [i for i, name in enumerate(names) if about[name] == "F"]
        sounds, names = [sounds[i] for i in kept], [names[i] for i in kept]
    if more:
        sounds, names = with_further(sounds, names, speech[1:], front)
    return SoundBank(sounds, names, front, device, about if readers == "balanced" else None)


def with_further(
    sounds: list, names: list[str], lists: list[Path], front: FrontEnd
) -> tuple[list, list[str]]:
    """These sounds and those of further lists, at three speeds; joined words at their own."""
    joined: set[str] = set()
    for place in lists:
        table = pd.read_csv(place, dtype=str)
        if "kind" in table:
            joined |= set(table.loc[table["kind"] == "joined words", "speaker"])
        others, who = read_sounds(list_sounds(place), front)
        sounds = sounds + others
        names = names + [re.sub(r"^libri_(?=\d+$)", "", name) for name in who]
    heard, known = [], []
    for speed in SPEEDS:
        share = Fraction(speed).limit_denominator(100)
        for x, name in zip(sounds, names, strict=True):
            if speed != 1:
                if name in joined:
                    continue
                x = resample_poly(x, share.denominator, share.numerator).astype(np.float32)
            heard.append(x)
            known.append(name)
    return heard, known


def credits_of(speech: list[Path], more: bool) -> str:
    """Whose speech it is, under which licence, by collection."""
    told = ["LibriSpeech (Panayotov et al. 2015), CC BY 4.0"]
    for place in speech[1:] if more else []:
        table = pd.read_csv(place, dtype=str).fillna({"source": "?", "licence": "?"})
        for (source, licence), rows in table.groupby(["source", "licence"]):
            told.append(f"{source}, {rows['speaker'].nunique()} speakers, {licence}")
    return "; ".join(told)


def trained(name: str, speech: list[Path], work: Path, device: str, hours: float | None) -> Model:
    """The network of this name, trained as far as it is not there yet."""
    done = work / f"{name}.safetensors"
    if done.exists():
        return load_model(done)
    wanted = NETWORKS[name]
    start = trained(wanted.start, speech, work, device, hours) if wanted.start else None
    bank = bank_of(speech, "train", wanted.readers, "first", device, wanted.more)
    print(f"{name}: {bank}", flush=True)
    limit = None if hours is None else 3600 * hours
    run = train(
        bank, wanted.recipe, work / f"{name}.run.safetensors", start=start, time_limit_s=limit,
        progress=lambda steps, n: tqdm(steps, total=n, unit="step"),
    )  # fmt: skip
    recipe, heard_s = wanted.recipe, 0.0
    for step in range(run.step):
        frames, segments = recipe.stage(step)
        heard_s += frames * segments * bank.front.hop_samples / bank.front.samplerate_hz
    threes = (
        "a third talker was never heard in training"
        if max(recipe.n_sources) < 3
        else ("four talkers were never heard in training")
    )
    known = {
        "data": f"LibriSpeech{' and further lists' if wanted.more else ''}, {bank}, of LibriSpeech "
        "the first three quarters of each recording, mixed on the fly",
        "licence": f"speech: {credits_of(speech, wanted.more)}; weights: MIT",
        "hours_of_mixtures": round(heard_s / 3600, 2),
        "made_by": f"training/talkers.py, network {name!r}, torch {torch.__version__}, {device}",
        "limits": (
            "read English, 100 Hz to 4 kHz; talkers at 0 to 5 dB without noise or echo; "
            f"{threes}; the number of talkers must be given, since "
            "most mixtures are counted as one; a small network, trained briefly"
        ),
    }
    model = trained_model(run, **known)
    if run.step == recipe.n_steps or limit is not None:
        model.save(done)
    return model


def sexes_of(speech: list[Path]):
    """Names of talkers to the group of their mixture, such as f+m."""
    about = sexes(speech)
    return lambda names: "+".join(sorted(about[name].lower() for name in names))


def measured(
    model: Model, name: str, speech: list[Path], n_mixtures: int, n_sources: int, settings: dict
) -> pd.DataFrame:
    """Scores of a network on the closed and the open set."""
    tables = []
    for where, split, part in (("closed", "train", "last"), ("open", "dev", "whole")):
        bank = bank_of(speech, split, "female" if name == "female" else "whole", part)
        known = known_mixtures(bank, n_mixtures, n_sources=n_sources)
        ways = model_separators(model, 100, **settings)
        if name != "shipped":
            del ways["oracle spectral"]
        bar = tqdm(known, f"{name}, {where}", n_mixtures, leave=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = evaluate(bar, ways, sexes_of(speech))
        tables.append(scores.assign(set=where))
    kind = "hard" if settings["softness"] == 0 else "soft"
    return pd.concat(tables).assign(network=name, talkers=n_sources, masks=kind)


def bounds(speech: list[Path], n_mixtures: int) -> pd.DataFrame:
    """Mixture, ideal mask and oracle NMF on the open set; NMF learns from 60 % of a recording."""
    bank = bank_of(speech, "dev", "whole", "whole")
    bar, tables = tqdm(total=len(bank.lengths), desc="spectra", leave=False), []
    spectra = speaker_spectra(bank, 0.6, lambda _: bar.update())
    ways = {"oracle NMF": oracle_separator(spectra, bank.front)}
    ways |= {"mixture": unseparated, "ideal mask": ideal_separator(bank.front)}
    for n_sources in (2, 3):
        known = known_mixtures(bank, n_mixtures, n_sources=n_sources, begin=0.6)
        bar = tqdm(known, "bounds", n_mixtures, leave=False)
        tables.append(evaluate(bar, ways, sexes_of(speech)).assign(talkers=n_sources))
    return pd.concat(tables).assign(set="open", network="none", masks="none")


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each cell of the tables, with its interval: by sexes of the talkers, and all."""
    cell = ["network", "talkers", "masks", "set", "method"]
    every = scores.assign(group="all")
    by = [*cell, "group"]
    both = pd.concat([every, scores[scores["talkers"] == 2]])
    both["mixture"] = both["mixture"].astype(int)
    table = summarise(both, by)
    table["initial_db"] = summarise(both, by, "initial_db")["mean"]
    return table.reset_index()


def write_results(scores: pd.DataFrame, models: dict[str, Model]) -> None:
    """The file that the tutorial reads."""
    packages = ("usvbook", "torch", "numpy", "torchmetrics")
    head = [
        "Results of training/talkers.py, measured on " + date.today().isoformat(),
        ", ".join(f"{name} {version(name)}" for name in packages)
        + f", Python {platform.python_version()}",
        "SDR improvement in dB: mean, half the 95 % interval, mixtures; initial_db: of the mixture",
    ]
    for name, model in models.items():
        hours = model.card["hours_of_mixtures"]
        head.append(f"network {name}: {model.card['steps']} steps, {hours} hours of mixtures")
    with RESULTS.open("w", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in head)
        means(scores).round(3).to_csv(file, index=False, lineterminator="\n")


def update_results(name: str, scores: pd.DataFrame, model: Model) -> None:
    """New rows of one network in the file that the tutorial reads; the others stay."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    mark, hours = f"# network {name}: ", model.card["hours_of_mixtures"]
    told = f"{mark}{model.card['steps']} steps, {hours} hours of mixtures"
    told += f", measured on {date.today().isoformat()}"
    head = [told if line.startswith(mark) else line for line in lines if line.startswith("#")]
    cell = ["network", "talkers", "masks", "set", "method", "group"]
    table = pd.read_csv(RESULTS, comment="#").set_index(cell)
    new = means(scores).round(3).set_index(cell)
    if set(table.index[table.index.get_level_values(0) == name]) != set(new.index):
        raise SystemExit(f"{RESULTS}: has other cells for {name!r} than were measured")
    table.loc[new.index] = new
    table["n_mixtures"] = table["n_mixtures"].astype(int)
    with RESULTS.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in head)
        table.reset_index().to_csv(file, index=False, lineterminator="\n")


def figures_of(scores: pd.DataFrame) -> dict[str, str]:
    """What a card says of a network: all talkers, two and three, closed and open."""
    table = means(scores)
    table = table[table["group"] == "all"]
    return {
        f"{r.talkers} talkers, {r.set} set, {r.method}, {r.masks}": (
            f"{r.mean:.2f} ± {r.ci95:.2f} dB SDR improvement, {r.n_mixtures} mixtures"
        )
        for r in table.itertuples()
    }


def scores_of(name: str, given: argparse.Namespace) -> pd.DataFrame:
    """Scores of one network, kept in the work folder."""
    kept = given.work / f"{name}.scores.csv"
    if kept.exists():
        return pd.read_csv(kept)
    model = trained(name, given.speech, given.work, given.device, given.hours)
    tables = []
    whole = name in ("shipped", "affinity", "paper")
    for n_sources in (2, 3) if whole else (2,):
        for settings in (PAPER_SETTINGS, OUR_SETTINGS) if whole else (OUR_SETTINGS,):
            tables.append(measured(model, name, given.speech, given.mixtures, n_sources, settings))
    scores = pd.concat(tables, ignore_index=True)
    scores.to_csv(kept, index=False)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("speech", type=Path, nargs="+", help="CSV; further ones to train on")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and networks")
    parser.add_argument("--tables", action="store_true", help="all networks, and the tables")
    parser.add_argument("--update", action="store_true", help="rows of the one network only")
    parser.add_argument("--only", choices=list(NETWORKS), default="shipped")
    parser.add_argument("--mixtures", type=int, default=80, help="for each number")
    parser.add_argument("--hours", type=float, help="time limit of each network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.work.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    names = (
        [n for n in NETWORKS if n not in ("affinity", "paper")] if given.tables else [given.only]
    )
    tables = [scores_of(name, given) for name in names]
    for name, scores in zip(names, tables, strict=True):
        model = load_model(given.work / f"{name}.safetensors")
        model.card["figures"] = figures_of(scores)
        place = SHIPPED if name == "shipped" else given.work / f"{name}.safetensors"
        model.save(place)
        print(json.dumps({name: model.card["figures"]}, indent=1, ensure_ascii=False))
    if given.tables:
        kept = given.work / "bounds.csv"
        if not kept.exists():
            bounds(given.speech, given.mixtures).to_csv(kept, index=False)
        tables.append(pd.read_csv(kept))
        models = {name: load_model(given.work / f"{name}.safetensors") for name in names}
        write_results(pd.concat(tables, ignore_index=True), models)
        print(f"written: {RESULTS.relative_to(ROOT)}")
    elif given.update:
        update_results(given.only, tables[0], load_model(given.work / f"{given.only}.safetensors"))
        print(f"written: {RESULTS.relative_to(ROOT)}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
