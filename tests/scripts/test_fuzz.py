"""Spoilt files are refused in the documented way: those that once were not, and some drawn ones."""

import collections
import dataclasses
import gc
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.imdb.cache import read_entry
from seqjax import data, train

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import fuzz
from fuzzing import faults, files, reader

# As in the tests of checkpoints: what Orbax abandons when it meets a damaged file ends as noise.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DEEP = b"[" * 3000
FOUND = [  # what each raised, before it was mended
    ("chorales", DEEP),  # RecursionError
    ("chorales", b'{"train": [[[60.5]]], "valid": [[[60]]], "test": [[[60]]]}'),  # IndexError
    ("half_cheetah", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape':}, 17), }"),  # TokenError
    ("half_cheetah", files.npy(np.full((60, 17), 1e300))),  # a warning of the cast to float32
    ("config", b'{"cell": "\xff"}'),  # UnicodeDecodeError
    ("config", DEEP),  # RecursionError
    ("asked_regression", b'{"cell": '),  # JSONDecodeError
    ("asked_regression", b'{"seed": ' + b"9" * 5000 + b"}"),  # ValueError
    ("metrics", DEEP + b"\n"),  # RecursionError
    ("metrics", b'{"a":' + b"[" * 700 + b"]" * 700 + b"}\n"),  # RecursionError, in writing it again
    ("result", b"\xff"),  # UnicodeDecodeError
    ("data_hash", b"\xff"),  # UnicodeDecodeError
    ("csv_series", b"a\n" + b"1e38\n" * 20),  # a warning of the cast to float32
    ("reviews", b"\x1f\x8b\x08"),  # TypeError of tarfile
    ("mesh", b"9" * 5000 + b"x2"),  # ValueError
    ("lists", b"lengths=" + b"9" * 5000),  # ValueError
    ("prepared", DEEP),  # RecursionError
    ("tags", DEEP),  # RecursionError
    ("alphabet", b"\xff"),  # UnicodeDecodeError
    ("scales", b"{"),  # JSONDecodeError
    ("scales", b"{}"),  # KeyError
    ("frame_scales", b'{"mean": [-1e308], "std": [2]}'),  # a warning of the cast to float32
    ("inputs", b'{"kind": "rows"}'),  # KeyError
    ("weights", b'{"metrics": {}}'),  # KeyError
    ("kept_code", b"\xff"),  # UnicodeDecodeError
]


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    base = tmp_path_factory.mktemp("sound")
    return {each.name: each for each in fuzz.readers(base)}


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
    assert read_entry(entry, "key", said.append) is None
    assert "is damaged" in said[0]


@pytest.mark.parametrize("name", ["own_cell", "vocabulary", "text_vocabulary", "config"])
def test_refused_in_one_line(readers, tmp_path, name):
    """What was named in the message had a line's end."""
    sound, file = readers[name].sound[0], tmp_path / readers[name].file
    altered = sound.replace(b"WordLevel", b"W\\nL").replace(b"monitor", b"mo\\nitor")
    file.write_bytes(b"gru\n:\n" if name == "own_cell" else altered)
    with pytest.raises(fuzz.DOCUMENTED) as raised:
        readers[name].read(file)
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_utf8_name_a_member(readers, tmp_path):
    file = tmp_path / "flag"
    file.write_bytes(b"data_dir=a\x93")  # UnicodeEncodeError
    readers["sweep"].read(file)


def test_half_a_character_is_kept(readers, tmp_path):
    file = tmp_path / "metrics.jsonl"
    kept = readers["metrics"].sound[0].split(b"\n")[0]
    file.write_bytes(kept + b'\n{"seed": 1, "path": "\\ud800"}\n')  # UnicodeEncodeError
    readers["metrics"].read(file)
    assert train.RunFolder(tmp_path, {}).metrics()[1:] == [{"seed": 1, "path": "\ud800"}]


def test_a_setting_of_another_type_is_refused(readers, tmp_path):
    """Such as null, which passed every bound."""
    settings = json.loads(readers["asked_regression"].sound[0])
    file = tmp_path / "config.json"
    for name, value in (("hidden_size", None), ("cell", 3), ("residual", "x"), ("dropout", [])):
        file.write_text(json.dumps(settings | {name: value}))
        with pytest.raises(fuzz.DOCUMENTED, match=f"must hold {name} of type"):
            readers["asked_regression"].read(file)


def test_drawn_inputs(readers, tmp_path):
    for each in readers.values():
        (tmp_path / each.name).mkdir()
        count = 3 if each.name == "checkpoints" else 25
        fed = fuzz.fuzz(each, tmp_path / each.name, count, seed=3)
        assert fed.findings == []
        assert sum(fed.outcomes.values()) == count
    gc.collect()  # here, and not while another test runs


def test_shares():
    known = [reader.drawn(name, print, weight) for name, weight in (("a", 1), ("b", 0.1), ("c", 1))]
    assert fuzz.shares(known, 1_000) == [("a", 476), ("b", 48), ("c", 476)]
    assert sum(count for _, count in fuzz.shares(known, 999_983)) == 999_983


def test_nests_are_spoilt_and_left_as_they_are():
    nest = {"a": [1, {"b": 2}], "c": 3}
    rng = random.Random(0)
    found = collections.Counter(
        json.dumps(faults.spoilt_nest(nest, rng, faults.JSON)) for _ in range(200)
    )
    assert nest == {"a": [1, {"b": 2}], "c": 3}
    assert len(found) > 100
    assert found[json.dumps(nest)] < 20


def test_a_careless_reader_is_found(readers, tmp_path):
    careless = dataclasses.replace(
        readers["result"], read=lambda path: path.read_bytes().decode("ascii")
    )
    fed = fuzz.fuzz(careless, tmp_path, 200, seed=0)
    assert fed.outcomes["finding"] > 0
    assert fed.findings[0].startswith("result: UnicodeDecodeError in test_fuzz.py:")


@pytest.mark.parametrize("said", ["", "one\ntwo"])
def test_an_error_not_of_one_line_is_found(readers, tmp_path, said):
    class WideError(data.DataError):
        __str__ = lambda self: said  # noqa: E731

    def read(path):
        if path.read_bytes() not in readers["result"].sound:
            raise WideError("")

    fed = fuzz.fuzz(dataclasses.replace(readers["result"], read=read), tmp_path, 20, seed=0)
    assert fed.findings[0].startswith(f"result: WideError not of one line: {said}")
