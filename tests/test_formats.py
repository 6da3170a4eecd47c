"""Calls of other programs: what their files say, in whatever dress, and what comes back of ours."""

import codecs
import json
import math
import os
import re
import shutil
import tempfile
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import RATE, run_command, usvbook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usvbook.files import Fault
from usvbook.mark_tables import MARK_COLUMNS, MarkWarning, Reading
from usvbook.marked_calls import MarkedRecordings, match_marks
from usvbook.marks import FORMATS, read_events, read_marks, sniff, write_marks
from usvbook.past_runs import calls_to_tune
from usvbook.recordings import Recording
from usvbook.run_record import Watch
from usvbook.segmentation import MultitaperSegmenter

SHARED = Path(os.environ.get("USVBOOK_DATA", "no such folder")).parent / "formats"
SHEET = {
    "audio_path": "file", "onset_s": "begin_ms/1000", "offset_s": "end_ms/1000",
    "low_freq_hz": "low_khz*1000", "high_freq_hz": "high_khz*1000", "label": "type",
}  # fmt: skip


def quietly(function, *given, **named):
    """What a function gives, and the remarks it made."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = function(*given, **named)
    return made, [str(one.message) for one in told if issubclass(one.category, MarkWarning)]


# ------------------------------------------------------------- files of the kinds that labs have

EXPECTED = json.loads((SHARED / "expected.json").read_text()) if SHARED.is_dir() else {}


@pytest.mark.skipif(not EXPECTED, reason="no folder formats beside USVBOOK_DATA")
@pytest.mark.parametrize("name", list(EXPECTED))
def test_shared_files(name):
    case, more = EXPECTED[name], {}
    more |= {"samplerate_hz": 250_000} if "samples" in name else {}
    more |= {"duration_s": 2.0} if "beyond" in name else {}
    more |= {"columns": SHEET} if case["format"] == "table" else {}
    if "error" in case:
        with pytest.raises(Fault) as told:
            read_marks(SHARED / name, case["format"], **more)
        assert case["error"] in str(told.value) and "\n" not in str(told.value)
        return
    made = [quietly(read_marks, SHARED / name, case["format"], **more)[0]]
    if case["format"] in ("boris", "elan", "textgrid"):
        made.append(quietly(read_events, SHARED / name, case["format"])[0])
    for marks in made:
        assert tuple(marks) == MARK_COLUMNS and len(marks) == len(case["expect"])
        for row, want in zip(marks.to_dict("records"), case["expect"], strict=True):
            for key, value in want.items():
                if value is None:
                    assert pd.isna(row[key])
                elif isinstance(value, float):
                    assert math.isclose(row[key], value, abs_tol=1e-9)
                else:
                    assert row[key] == value
    assert sniff(SHARED / name) == case["format"]


TOOLS = SHARED.parent / "data" / "usv"


@pytest.mark.skipif(not (TOOLS / "other_tools").is_dir(), reason="no other_tools in USVBOOK_DATA")
@pytest.mark.parametrize("tool", ["deepsqueak", "msa1", "msa2", "mupet", "vocalmat"])
def test_tables_of_other_tools(tool):
    """One pattern for the tables of a tool, which have no name in common with the recordings."""
    recordings = [str(TOOLS / f"rec_{k}.flac") for k in (1, 2, 6, 8)]
    how = Reading(decimal="comma" if tool == "msa1" else "auto")
    places = [TOOLS / "other_tools" / f"{tool}_*.csv"]
    found, told = quietly(match_marks, places, recordings, how=how)
    assert list(found) == recordings and len(told) == 4 and all("the number" in t for t in told)
    for path, marks in found.items():
        (file,) = set(marks["file"])
        lines = [line for line in Path(file).read_text().splitlines() if line.strip()]
        assert Path(file).stem[-2:] == Path(path).stem[-2:] and len(marks) == len(lines)


@pytest.mark.skipif(not (TOOLS / "calls.csv").is_file(), reason="no calls.csv in USVBOOK_DATA")
def test_marks_of_real_recordings():
    """All 116 calls that people marked, in one table of four recordings, are measured and shown."""
    recordings = [str(TOOLS / f"rec_{k}.flac") for k in (1, 2, 6, 8)]
    found, told = quietly(match_marks, [TOOLS / "calls.csv"], recordings)
    assert told == [] and sum(map(len, found.values())) == 116
    faint = MarkedRecordings(MultitaperSegmenter(), found).segment(Recording(recordings[2]))
    assert len(faint) == 24 and all(patch.any() for patch in faint.patches)


RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
GRID = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n1\n'
GRID += '"IntervalTier"\n"c"\n0\n2\n'
EAF = "<ANNOTATION_DOCUMENT><TIME_ORDER>{}</TIME_ORDER><TIER>{}</TIER></ANNOTATION_DOCUMENT>"
SLOT = "<TIME_SLOT TIME_SLOT_ID='{}' TIME_VALUE='{}'/>"
ONE = "<ALIGNABLE_ANNOTATION TIME_SLOT_REF1='a' TIME_SLOT_REF2='b'>"
ONE += "<ANNOTATION_VALUE>up</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>"

READ = {  # name: text, format, rows of onset, offset, low, high, label
    "raven, saved by a spreadsheet with decimal commas": (
        RAVEN.replace("\t", ";") + ";Tags\n1;Spectrogram 1;1;0,5;1;60000,5;70000;up\n",
        "raven",
        [(0.5, 1, 60000.5, 70000, "up")],
    ),
    "raven, two spectrograms of one selection": (
        RAVEN + "\n1\tSpectrogram 1\t1\t0.5\t1\t6e4\t7e4\n1\tSpectrogram 2\t1\t0.5\t1\t6e4\t7e4\n",
        "raven",
        [(0.5, 1, 6e4, 7e4, "")],
    ),
    "raven, both channels of one selection": (
        RAVEN + "\n1\tSpectrogram 1\t1\t0.5\t1\t6e4\t7e4\n1\tSpectrogram 2\t2\t0.5\t1\t6e4\t7e4\n",
        "raven",
        [(0.5, 1, 6e4, 7e4, "")] * 2,
    ),
    "raven, tables put together: numbers begin anew": (
        RAVEN + "\n1\tSpectrogram 1\t1\t0.5\t1\t6e4\t7e4\n1\tSpectrogram 1\t1\t2\t3\t6e4\t7e4\n",
        "raven",
        [(0.5, 1, 6e4, 7e4, ""), (2, 3, 6e4, 7e4, "")],
    ),
    "raven, no calls": (RAVEN + "\n", "raven", []),
    "raven, no band for one": (
        RAVEN + "\n1\tSpectrogram 1\t1\t0.5\t1\t\t\n",
        "raven",
        [(0.5, 1, None, None, "")],
    ),
    "audacity, band for some, one bound": (
        "0.1\t0.2\tup\n\\\t-1.000000\t80000\n0.3\t0.4\tdown\n0.5\t0.6\t\n\\\t-1\t-1\n",
        "audacity",
        [(0.1, 0.2, None, 80000, "up"), (0.3, 0.4, None, None, "down"), (0.5, 0.6, None, None, "")],
    ),
    "audacity, old Mac line ends and decimal commas": (
        "0,125\t0,25\tup, loud\r1\t2\t5,5 kHz\r",
        "audacity",
        [(0.125, 0.25, None, None, "up, loud"), (1, 2, None, None, "5,5 kHz")],
    ),
    "deepsqueak csv without labels": (
        "0.1,0.2,6e4,7e4,\n",
        "deepsqueak-csv",
        [(0.1, 0.2, 6e4, 7e4, "")],
    ),
    "simple-seq with semicolons": (
        "onset_s;offset_s;label\n0,1;0,2;up\n",
        "simple-seq",
        [(0.1, 0.2, None, None, "up")],
    ),
    "simple-seq, quoted label of two lines": (
        'onset_s,offset_s,label\n0.1,0.2,"up,\ndown"\n\n0.3,0.4,flat\n',
        "simple-seq",
        [(0.1, 0.2, None, None, "up,\ndown"), (0.3, 0.4, None, None, "flat")],
    ),
    "generic-seq, seconds in some rows": (
        "label,onset_s,offset_s,onset_sample,offset_sample,notated_path\nup,0.5,0.75,,,a.wav\n",
        "generic-seq",
        [(0.5, 0.75, None, None, "up")],
    ),
    "usvseg 09r2, durations in ms": (
        "#,start,end,duration,maxfreq,maxamp,meanfreq,cvfreq\n1,0.5,0.55,50.0,70,-40,70,0.1\n",
        "usvseg",
        [(0.5, 0.55, None, None, "")],
    ),
    "ava with commas": (
        "0.1, 0.2\n0.3, 0.4\n",
        "ava",
        [(0.1, 0.2, None, None, ""), (0.3, 0.4, None, None, "")],
    ),
    "ava without calls": ("# Onsets/offsets\n", "ava", []),
    "textgrid with doubled quotes": (
        GRID + '2\n0\n1\n""\n1\n2\n"a ""b"" !"\n',
        "textgrid",
        [(1, 2, None, None, 'a "b" !')],
    ),
    "elan": (
        EAF.format(SLOT.format("a", 125) + SLOT.format("b", 163), ONE),
        "elan",
        [(0.125, 0.163, None, None, "up")],
    ),
}


@pytest.mark.parametrize("dress", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "crlf"])
@pytest.mark.parametrize("name", list(READ))
def test_worked_files(name, dress, tmp_path):
    text, fmt, rows = READ[name]
    if fmt == "elan" and dress == "cp1252":
        pytest.skip("XML says itself how it is encoded")
    text = text.replace("\n", "\r\n") if dress == "crlf" and "\r" not in text else text
    content = text.encode(dress if dress != "crlf" else "utf-8")
    path = tmp_path / "file.txt"
    path.write_bytes(codecs.BOM_UTF16_BE + content if dress == "utf-16-be" else content)
    assert sniff(path) == fmt
    marks, _ = quietly(read_marks, path, fmt)
    got = marks[["onset_s", "offset_s", "low_freq_hz", "high_freq_hz", "label"]]
    assert len(got) == len(rows)
    for mine, theirs in zip(got.itertuples(index=False), rows, strict=True):
        assert mine[4] == theirs[4]
        numbers = [math.nan if v is None else v for v in theirs[:4]]
        assert np.allclose(mine[:4], numbers, atol=1e-9, equal_nan=True)


REFUSED = {  # name: text, format, words of the one line
    "end before begin": (
        "onset_s,offset_s,label\n0.1,0.2,up\n0.5,0.4,up\n",
        "simple-seq",
        "line 3: ends before it begins",
    ),
    "not a number": (
        "onset_s,offset_s,label\n0.1,soon,up\n",
        "simple-seq",
        "line 2: offset_s is not a finite number",
    ),
    "infinite": ("0.1\tinf\tup\n", "audacity", "line 1: offset_s is not a finite number"),
    "negative": ("-0.1\t0.2\tup\n", "audacity", "line 1: begins before the recording"),
    "low above high": ("0.1\t0.2\tup\n\\\t9\t8\n", "audacity", "line 1: its low edge lies above"),
    "a band of nothing": ("\\\t9\t8\n", "audacity", "line 1: a band, but not after a label"),
    "milliseconds": ("onset_s,offset_s,label\n125,163,up\n", "simple-seq", "milliseconds"),
    "commas cut numbers": (
        "onset_s,offset_s,label\n0,1,0,2,up\n",
        "simple-seq",
        "line 2: has 5 fields",
    ),
    "quoted decimal commas": ('"0,1","0,2"\n', "ava", "decimal=comma"),
    "no column of that name": ("a,b\n1,2\n", "table", "say which of its columns"),
    "mixed points and commas": (
        "onset_s;offset_s;label\n0.5;0,7;up\n",
        "simple-seq",
        "line 2: offset_s is not",
    ),
    "only white space": (" \n\n", "raven", "is empty"),
    "quotation mark not closed": (
        'onset_s,offset_s,label\n0.1,0.2,"up\n',
        "simple-seq",
        "line 2: is no row",
    ),
    "entities": ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "elan", "defines entities"),
    "XML that is none": ("<a>", "sv-svl", "is no XML"),
    "a TextGrid cut off": (GRID + '2\n0\n1\n""\n', "textgrid", "a number is expected"),
    "stops before it starts": (
        "Time,Subject,Behavior,Status\n1,m,sniff,STOP\n",
        "boris",
        "line 2: sniff of m stops",
    ),
    "regions, not boxes": ("0.1,5,0.1,up\n", "sv-csv", "regions"),
    "no MATLAB file": (
        "MATLAB 5.0 MAT-file" + " " * 200,
        "deepsqueak-mat",
        "more than 50",
    ),
    "no NWB": ("\x01\x02", "nwb", "cannot be read as NWB"),
    "unknown format": ("1", "sonogram", "format 'sonogram' is not known"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_in_one_line(name, tmp_path):
    text, fmt, words = REFUSED[name]
    path = tmp_path / "marks.txt"
    path.write_bytes(text.encode())
    with pytest.raises(Fault) as told:
        quietly(read_marks, path, fmt)
    line = str(told.value)
    assert words in line and "\n" not in line and (path.name in line or fmt == "sonogram")


def test_a_file_beyond_its_recording(tmp_path):
    path = tmp_path / "m7.txt"
    path.write_text("1\t1.1\tup\n")
    assert len(read_marks(path, duration_s=1.06)) == 1
    with pytest.raises(ValueError, match=r"call at 1.0 s.* milliseconds"):
        read_marks(path, duration_s=0.9)


PLACES = {  # files of marks, recordings: what belongs to what
    "accents, as a Mac takes them apart": (
        [unicodedata.normalize("NFD", "Mäuse 1/Maus ä (a).Table.1.selections.txt")],
        ["rec/Maus ä (a).wav", "rec/Maus ö (a).wav"], {0: 0},
    ),
    "beside their recordings": (["rec/m7.wav", "rec/m7.txt"], ["rec/m7.wav"], {1: 0}),
    "brackets": (["a[1]/m7.txt"], ["m7.wav", "m8.wav"], {0: 0}),
    "the same name in two folders": (
        ["d1/m7.txt", "d2/m7.txt"], ["rec/d1/m7.wav", "rec/d2/m7.wav"], {0: 0, 1: 1}
    ),
    "numbers alone": (["ds_1.txt", "ds_3.txt"], ["m_1.wav", "m_2.wav", "m_3.wav"], {0: 0, 1: 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(PLACES))
def test_which_recording_is_meant(name, tmp_path):
    files, recordings, found = PLACES[name]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("0.1\t0.2\tup\n")
    matched, _ = quietly(match_marks, [tmp_path], recordings)
    got = {path: set(marks["file"]) for path, marks in matched.items()}
    assert got == {recordings[r]: {str(tmp_path / files[f])} for f, r in found.items()}


@pytest.mark.parametrize(
    ("files", "recordings", "words"),
    [
        (["d1/m7.txt"], ["rec/d2/m7.wav", "rec/d3/m7.wav"], "may be rec/d2/m7.wav or"),
        (["ds_1.txt", "mupet_2.txt"], ["m_1.wav", "m_2.wav"], "such as m_1; name files alike"),
        (["ds_2025_1.txt", "ds_2025_2.txt"], ["m_2024_1.wav", "m_2024_2.wav"], "name files alike"),
        (["m7.txt"], ["m7.wav", "m7.csv"], "m7.csv: is no recording"),
    ],
)
def test_which_recording_is_not_clear(files, recordings, words, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("0.1\t0.2\tup\n")
    with pytest.raises(Fault, match=re.escape(words)):
        match_marks([tmp_path], recordings)


# ------------------------------------------------------------------------------ there and back

NO_WORDS = ["Cc", "Cs", "Zl", "Zp", "Zs", "Cn", "Co"]
ODD = ['"', '""', '"a"', 'a "b"', "a,b", "a;b", "'", "up down", "5,5", "-1", "\\", "nan", "é"]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=NO_WORDS), max_size=8)
TIME, LENGTH = (
    st.integers(least, most).map(lambda k: k / 1e6)
    for least, most in ((0, 10**9), (2_000, 9 * 10**6))
)
MARK = st.tuples(
    TIME, LENGTH, st.integers(0, 10**6), st.integers(0, 10**5), WORDS | st.sampled_from(ODD)
)
UNLIKE = st.lists(MARK, min_size=1, max_size=6, unique_by=lambda row: row[0])
LOOK = dict(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SLOW = ("deepsqueak-mat", "nwb")


def table_of(rows, banded):
    marks = pd.DataFrame(rows, columns=["onset_s", "length", "low", "width", "label"])
    marks["offset_s"] = (marks["onset_s"] + marks["length"]).round(6)
    marks["low_freq_hz"] = marks["low"].astype(float) if banded else np.nan
    marks["high_freq_hz"] = (marks["low"] + marks["width"]).astype(float) if banded else np.nan
    marks["label"] = [label.strip() for label in marks["label"]]
    return marks.drop(columns=["length", "low", "width"])


def there_and_back(fmt, rows, banded):
    form, marks = FORMATS[fmt], table_of(rows, banded)
    if fmt in ("textgrid", "deepsqueak-mat", "das", "ava"):  # an empty label would be no call there
        marks["label"] = [label or "call" for label in marks["label"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"m7{form.extension}"
        quietly(write_marks, marks, path, fmt)
        back, _ = quietly(read_marks, path, fmt)
    by = ["onset_s", "offset_s", "label"]
    if not form.has_label:
        by = by[:2]
    marks, back = (t.sort_values(by, kind="stable").reset_index(drop=True) for t in (marks, back))
    near = 1e-3 if fmt == "elan" else 1e-6
    assert len(back) == len(marks)
    times = ["onset_s", "offset_s"]
    ends = [np.sort(table[times], axis=0) for table in (back, marks)]
    assert np.allclose(*ends, rtol=0, atol=near)
    if form.has_label and fmt != "elan":  # whole milliseconds may change the order there
        assert back["label"].tolist() == marks["label"].tolist()
    if form.has_band:
        edges = ["low_freq_hz", "high_freq_hz"]
        assert np.allclose(back[edges], marks[edges], atol=1e-2, equal_nan=True)
    assert sorted(back["label"]) == sorted(marks["label"]) or not form.has_label


@pytest.mark.parametrize("fmt", [n for n, f in FORMATS.items() if f.writes and n not in SLOW])
@settings(max_examples=20, **LOOK)
@given(rows=UNLIKE, banded=st.booleans())
def test_there_and_back(fmt, rows, banded):
    there_and_back(fmt, rows, banded or fmt in ("deepsqueak-csv", "sv-csv"))


@pytest.mark.parametrize("fmt", SLOW)
@settings(max_examples=4, **LOOK)
@given(rows=UNLIKE)
def test_there_and_back_slowly(fmt, rows):
    pytest.importorskip({"nwb": "pynwb", "deepsqueak-mat": "matio"}[fmt])
    there_and_back(fmt, rows, True)


@settings(max_examples=5, **LOOK)
@given(rows=st.lists(MARK, min_size=1, max_size=6))
def test_what_is_written_is_sniffed(rows):
    marks = table_of(rows, True).assign(label=[f"call {k}" for k in range(len(rows))])
    for fmt, form in FORMATS.items():
        if form.writes and fmt not in (*SLOW, "deepsqueak-csv"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"m7{form.extension}"
                quietly(write_marks, marks.assign(audio_path="m7.wav"), path, fmt)
                assert sniff(path) == fmt


# ------------------------------------------------------------------------ as others read them

MINE = pd.DataFrame(
    {
        "audio_path": "m7.wav", "onset_s": [0.125, 0.2045, 1.5], "offset_s": [0.163, 0.2595, 1.512],
        "low_freq_hz": [61_200.0, 55_000, 70_250], "high_freq_hz": [74_800.0, 88_500, 70_900],
        "label": ["up", "chevron", "noise"],
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "fmt"),
    [("simple-seq", "simple-seq"), ("generic-seq", "generic-seq"), ("raven", "raven"),
     ("aud-seq", "audacity"), ("aud-bbox", "audacity")],
)  # fmt: skip
def test_crowsetta_reads_the_same(theirs, fmt, tmp_path):
    crowsetta = pytest.importorskip("crowsetta")
    marks = MINE.drop(columns=["low_freq_hz", "high_freq_hz"]) if theirs == "aud-seq" else MINE
    path = tmp_path / f"m7{FORMATS[fmt].extension}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_marks(marks, path, fmt)
        annotation = crowsetta.Transcriber(format=theirs).from_file(path).to_annot()
    annotation = annotation[0] if isinstance(annotation, list) else annotation
    boxes = getattr(annotation, "bboxes", None)
    if boxes:
        got = [(b.onset, b.offset, b.low_freq, b.high_freq, b.label) for b in boxes]
        assert np.allclose([g[2:4] for g in got], MINE[["low_freq_hz", "high_freq_hz"]])
        times, labels = [g[:2] for g in got], [g[4] for g in got]
    else:
        times = np.stack([annotation.seq.onsets_s, annotation.seq.offsets_s], axis=1)
        labels = annotation.seq.labels
    back = read_marks(path, fmt)
    assert np.allclose(times, back[["onset_s", "offset_s"]], atol=5.1e-4)  # it rounds to ms
    assert [str(label) for label in labels] == back["label"].tolist()


@pytest.mark.skipif(not EXPECTED, reason="no folder formats beside USVBOOK_DATA")
@pytest.mark.parametrize(
    ("name", "theirs", "outcome"),
    [("raven/two_views.selections.txt", "raven", 6), ("audacity/standard.txt", "aud-bbox", "float"),
     ("audacity/points_and_tabs.txt", "aud-seq", "Expected 3 fields"),
     ("crowsetta/generic_seq_samples.csv", "generic-seq", None)],
)  # fmt: skip
def test_where_crowsetta_reads_otherwise(name, theirs, outcome):
    """Files that are read here, on which a maintained library fails, as the notebook says."""
    crowsetta = pytest.importorskip("crowsetta")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            notes = crowsetta.Transcriber(format=theirs).from_file(SHARED / name).to_annot()
            notes = notes[0] if isinstance(notes, list) else notes
            boxes = getattr(notes, "bboxes", None)
            assert (len(boxes) if boxes else notes.seq.segments[0].onset_s) == outcome
        except ValueError as error:
            assert isinstance(outcome, str) and outcome in str(error)
        assert len(read_marks(SHARED / name, samplerate_hz=250_000)) == 3


def test_praatio_reads_the_same(tmp_path):
    textgrid = pytest.importorskip("praatio.textgrid")
    path = write_marks(MINE, tmp_path / "m7.TextGrid", "textgrid")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    entries = grid.getTier("calls").entries
    back = read_marks(path)
    assert np.allclose([(e.start, e.end) for e in entries], back[["onset_s", "offset_s"]])
    assert [e.label for e in entries] == back["label"].tolist() == MINE["label"].tolist()
    for form in ("short_textgrid", "long_textgrid"):
        grid.save(str(tmp_path / "theirs.TextGrid"), form, includeBlankSpaces=True)
        theirs = read_marks(tmp_path / "theirs.TextGrid")
        assert np.allclose(theirs[["onset_s", "offset_s"]], MINE[["onset_s", "offset_s"]])


def test_pympi_reads_the_same(tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    path = write_marks(MINE, tmp_path / "m7.eaf", "elan")
    rows = sorted(elan.Eaf(str(path)).get_annotation_data_for_tier("calls"))
    back = read_marks(path)
    assert np.allclose(np.array([row[:2] for row in rows]) / 1e3, back[["onset_s", "offset_s"]])
    assert [row[2] for row in rows] == back["label"].tolist()
    made = elan.Eaf()
    made.add_tier("mouse")
    made.add_annotation("mouse", 125, 163, "up")
    made.to_file(str(tmp_path / "theirs.eaf"))
    assert quietly(read_marks, tmp_path / "theirs.eaf")[0]["offset_s"].tolist() == [0.163]


def test_pynwb_reads_the_same(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    path = write_marks(MINE.assign(unit=[0, 1, 2]), tmp_path / "m7.nwb", "nwb")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pynwb.NWBHDF5IO(str(path), "r") as io:
            table = io.read().intervals["calls"].to_dataframe()
    assert np.allclose(table[["start_time", "stop_time"]], MINE[["onset_s", "offset_s"]])
    assert table["unit"].tolist() == [0, 1, 2] and table["label"].tolist() == MINE["label"].tolist()


# ----------------------------------------------------------------------------- the commands


def test_round_trip_through_files(study, tmp_path, no_figures, monkeypatch):
    """Build, convert for Raven, edit three rows, build from them: these three, and no others."""
    early = study[0] / "early"
    usvbook("build", early, "-o", tmp_path / "first", "--n-clusters", 4, "--n-seeds", 0)
    usvbook("convert", tmp_path / "first", "--to", "raven", "-o", tmp_path / "raven")
    key = ["audio_path", "onset_s"]
    first = pd.read_csv(tmp_path / "first" / "calls.csv").sort_values(key, ignore_index=True)
    path = tmp_path / "raven" / "m0.Table.1.selections.txt"
    cells = [line.split("\t") for line in path.read_text().splitlines()]
    times = np.array([row[3:5] for row in cells[1:]], float)
    own = first["audio_path"].str.endswith("m0.flac").to_numpy()
    assert own[: len(times)].all() and np.allclose(times[:, 0], first["onset_s"][own])
    quiet = 20 + int(np.argmax(times[21:, 0] - times[20:-1, 1]))  # a call, then a long silence
    middle = (times[quiet, 1] + times[quiet + 1, 0]) / 2
    added = f"{middle - 0.01:.6f}", f"{middle + 0.01:.6f}", "60000", "70000", "m0.flac", "mine"
    cells[3][4] = f"{times[2, 1] + 0.004:.6f}"  # one ends later
    cells[6][8] = "hello"  # one is renamed, which changes nothing else
    cells.append(["99", "Spectrogram 1", "1", *added])  # one is new, at the end of the table
    del cells[10]  # and one goes
    path.write_text("\n".join("\t".join(row) for row in cells) + "\n")
    words = ("--n-clusters", 4, "--n-seeds", 0, "--marks", tmp_path / "raven")
    usvbook("build", early, "-o", tmp_path / "second", *words)
    second = pd.read_csv(tmp_path / "second" / "calls.csv").sort_values(key, ignore_index=True)
    new = int(second["marked_label"].eq("mine").argmax())
    assert math.isclose(second["onset_s"][new], middle - 0.01, abs_tol=1e-6)
    assert (
        second["low_freq_hz"][new] == 60_000 and second["audio_path"][new] == first["audio_path"][0]
    )
    assert second["marked_label"][5] == "hello" and len(second) == len(first)
    old, kept = first.drop(index=9), second.drop(index=new)
    other = ("call_id", "unit", "is_inlier", "similarity")
    same = [c for c in first if c in second and c not in other]
    old, kept = (table[same].reset_index(drop=True) for table in (old, kept))
    changed = (old != kept) & ~(old.isna() & kept.isna())
    assert {"offset_s", "duration_s"} <= set(changed.columns[changed.loc[2]])
    neighbours = changed.index[changed.pop("interval_s")].tolist()
    assert neighbours == [2, 8, quiet - 1]  # the silence after each of them is another
    assert changed.index[changed.any(axis=1)].tolist() == [2]
    run = json.loads((tmp_path / "second" / "run.json").read_text())
    assert run["parameters"]["marks"] == "marks.csv"
    shutil.rmtree(tmp_path / "second" / "work", ignore_errors=True)
    os.rename(tmp_path / "second", tmp_path / "moved")  # and measured once more, without the files
    shutil.rmtree(tmp_path / "raven")
    monkeypatch.chdir(tmp_path / "moved")
    again = calls_to_tune([str(tmp_path / "moved")], {}, None, Watch())[0].table
    again = again.sort_values(key, ignore_index=True)
    assert again["marked_label"].tolist() == second["marked_label"].fillna("").astype(str).tolist()
    assert np.allclose(again[["onset_s", "peak_freq_hz"]], second[["onset_s", "peak_freq_hz"]])


def test_marks_of_other_tools(song, tmp_path, no_figures):
    """A table of onsets and offsets, with quoted decimal commas, and no name in common."""
    calls = [(0.1 * k + 0.05, 0.1 * k + 0.1) for k in range(30)]
    text = "\n".join(f'"{a:.3f}","{b:.3f}"'.replace(".", ",") for a, b in calls)
    (tmp_path / "msa1_1.csv").write_text(text + "\n")
    marks = ("--n-seeds", 0, "--marks", tmp_path / "msa1_1.csv")
    words = ("build", song, "-o", tmp_path / "out", *marks)
    code, said = run_command(*words)
    assert code == 1 and "--decimal" in said
    said = usvbook(*words, "--decimal", "comma")
    assert "taken as the marks of" in said
    assert len(pd.read_csv(tmp_path / "out" / "calls.csv")) == 30
    words = ("assign", tmp_path / "out" / "repertoire.npz", song, "-o", tmp_path / "next")
    usvbook(*words, "--marks", tmp_path / "msa1_1.csv", "--decimal", "comma")
    assert len(pd.read_csv(tmp_path / "next" / "calls.csv")) == 30
    code, said = run_command("build", song, tmp_path / "msa1_1.csv", "-o", tmp_path / "no", *marks)
    assert code == 1 and "msa1_1.csv: is no recording" in said
    (tmp_path / "song.csv").write_text("onset_s,offset_s,label\n")
    few = ("build", song, "-o", tmp_path / "no", "--marks", tmp_path / "song.csv")
    for command, line in (
        (few, "0 call(s) marked, too few for a repertoire; mark more"),
        (("build", song, "-o", tmp_path / "no", "--decimal", "comma"), "name the marks too"),
        (("convert", tmp_path / "msa1_1.csv", "--to", "raven", "-o", tmp_path / "no",
          "--samplerate-hz", 0), "--samplerate-hz = 0.0 is no number above 0"),
    ):  # fmt: skip
        code, said = run_command(*command)
        assert code == 1 and line in said and "Traceback" not in said
    with pytest.raises(AssertionError, match="milliseconds"):
        (tmp_path / "song.txt").write_text("100\t101\tup\n")
        usvbook(*words[:-1], tmp_path / "never", "--marks", tmp_path / "song.txt")
    assert RATE == 250_000


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"PK\x03\x04")
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(Fault, match=r"openpyxl is missing; pip install 'usvbook\[formats\]'"):
        read_marks(path, "vocalmat")
