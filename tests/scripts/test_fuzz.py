"""Spoilt files are refused in the documented way: those that once were not, and some drawn ones."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from seqjax import data

PATH = Path(__file__).parents[2] / "scripts" / "fuzz.py"
spec = importlib.util.spec_from_file_location("fuzz", PATH)
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)

DEEP = b"[" * 3000
FOUND = [  # what each raised, before it was mended
    ("chorales", DEEP),  # RecursionError
    ("chorales", b'{"train": [[[60.5]]], "valid": [[[60]]], "test": [[[60]]]}'),  # IndexError
    ("half_cheetah", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape':}, 17), }"),  # TokenError
    ("half_cheetah", fuzz.npy(np.full((60, 17), 1e300))),  # a warning of the cast to float32
    ("config", b'{"cell": "\xff"}'),  # UnicodeDecodeError
    ("config", DEEP),  # RecursionError
    ("asked", b'{"cell": '),  # JSONDecodeError
    ("asked", b'{"seed": ' + b"9" * 5000 + b"}"),  # ValueError
    ("metrics", DEEP + b"\n"),  # RecursionError
    ("result", b"\xff"),  # UnicodeDecodeError
    ("data_hash", b"\xff"),  # UnicodeDecodeError
]


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    base = tmp_path_factory.mktemp("sound")
    return {reader.name: reader for reader in fuzz.readers(base)}


@pytest.mark.parametrize(("name", "content"), FOUND)
def test_what_was_found_is_refused(readers, tmp_path, name, content):
    file = tmp_path / readers[name].file
    file.write_bytes(content)
    with pytest.raises(fuzz.DOCUMENTED):
        readers[name].read(file)


def test_a_cache_entry_in_an_unknown_compression_is_made_anew(readers, tmp_path):
    entry = tmp_path / "entry.npz"
    content = bytearray(readers["cache"].sound[0])
    content[content.rindex(b"PK\x01\x02") + 10] = 99  # NotImplementedError of zipfile
    entry.write_bytes(content)
    said = []
    assert data.read_entry(entry, "key", said.append) is None
    assert "is damaged" in said[0]


def test_drawn_inputs(readers, tmp_path):
    for reader in readers.values():
        (tmp_path / reader.name).mkdir()
        outcomes, findings = fuzz.fuzz(reader, tmp_path / reader.name, 40, seed=3)
        assert findings == []
        assert sum(outcomes.values()) == 40


def test_a_careless_reader_is_found(readers, tmp_path):
    careless = dataclasses.replace(
        readers["result"], read=lambda path: path.read_bytes().decode("ascii")
    )
    outcomes, findings = fuzz.fuzz(careless, tmp_path, 200, seed=0)
    assert outcomes["finding"] > 0
    assert findings[0].startswith("result: UnicodeDecodeError in test_fuzz.py:")
