"""A file from a stranger is used or refused, in one line; it does nothing else."""

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hostile import Target, targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MADE = targets()
LITTLE = st.binary(max_size=12) | st.sampled_from(
    [b"\xff" * 8, b"\x00" * 8, b"-1", b"9" * 30, b"NaN", b"1e999", b"null", b"[]", b"{}", b'"',
     b"../../x", b"\x00", b"\xed\xa0\x80", b"O", b"|O", b"<f8", b"(9999999999,)"]
)  # fmt: skip
EDIT = st.tuples(st.integers(0, 40), st.floats(0, 1), st.integers(0, 40), LITTLE)


@pytest.mark.parametrize("name", list(MADE))
def test_examples_are_taken(name, tmp_path):
    target: Target = MADE[name]
    assert target.check(target.edited([]), tmp_path) is None


@pytest.mark.parametrize("name", list(MADE))
@settings(
    max_examples=150, deadline=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(edits=st.lists(EDIT, min_size=1, max_size=4))
def test_edited_files(name, edits):
    target = MADE[name]
    with tempfile.TemporaryDirectory() as folder:
        target.check(target.edited(edits), Path(folder))


@pytest.mark.parametrize("name", list(MADE))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(content=st.binary(max_size=200), keep=st.floats(0, 1))
def test_any_bytes_and_cut_files(name, content, keep):
    target = MADE[name]
    whole = target.edited([])
    with tempfile.TemporaryDirectory() as folder:
        target.check(content, Path(folder))
        target.check(whole[: int(keep * len(whole))] + content, Path(folder))


FOUND = {  # by tests/fuzz.py
    "calls of a recording": [(255, 0.99996, 63, b"\xfd")],  # a number that is no character
    "list of sounds": [  # a name of two lines
        (10, 0.8721028566, 34, b'"' * 12 + b"\n" + b'"' * 21), (34, 0.1333333254, 34, b'"' * 27)
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", list(FOUND))
def test_found_before(name, tmp_path):
    target = MADE[name]
    target.check(target.edited(FOUND[name]), tmp_path)


def nested(name):
    """A file of that kind, whose text is nested deeper than any reader goes."""
    target, deep = MADE[name], "[" * 100_000
    parts = list(target.parts)
    if target.suffix == ".toml":
        parts[0] = b"a = " + deep.encode()
    elif target.suffix == ".npz":
        head = next(i for i, part in enumerate(parts) if b"format" in part.replace(b"\0", b""))
        entry = io.BytesIO()
        np.save(entry, np.array(deep))
        parts[head] = entry.getvalue()
    else:
        header = json.loads(parts[0])
        header["__metadata__"] = dict.fromkeys(header["__metadata__"], deep)
        parts[0] = json.dumps(header).encode()
    return target.join(parts)


@pytest.mark.parametrize(
    "name", ["calls of a recording", "repertoire", "weights", "checkpoint", "settings", "recipe"]
)
def test_deep_nesting(name, tmp_path):
    assert "recursion" in MADE[name].check(nested(name), tmp_path)
