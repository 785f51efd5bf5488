"""The `.ts` files of the UEA and UCR archives."""

import os
from pathlib import Path

import numpy as np
import pytest

from seqjax import data

HEADER = "#about\n@problemName Two waves\n@timeStamps false\n@classLabel true up down\n@data\n"
GOOD = HEADER + "1,2.5,-3e1:4,5,6:up\n\n7,?:8,9: down\n"


def read(tmp_path, text):
    path = tmp_path / "a.ts"
    path.write_text(text)
    return data.read_ts(path)


def test_sequences_classes_and_gaps(tmp_path):
    found = read(tmp_path, GOOD)
    assert (found.name, found.labels, found.classes) == (
        "Two waves",
        ("up", "down"),
        ("up", "down"),
    )
    np.testing.assert_array_equal(found.sequences[0], [[1, 4], [2.5, 5], [-30, 6]])
    np.testing.assert_array_equal(found.sequences[1], [[7, 8], [np.nan, 9]])


def test_without_classes(tmp_path):
    found = read(tmp_path, "@classLabel false\n@data\n1,2\n3\n")
    assert (found.labels, found.classes) == ((), ())
    assert [len(steps) for steps in found.sequences] == [2, 1]


def test_the_hash_is_that_of_the_content(tmp_path):
    one = read(tmp_path, GOOD)
    assert one.sha256 == read(tmp_path, GOOD.replace("2.5", "2.50")).sha256
    for old, new in (("2.5", "2.6"), (": down", ": up"), ("1,2.5,-3e1:4,5,6", "1,2.5:4,5")):
        assert one.sha256 != read(tmp_path, GOOD.replace(old, new)).sha256


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2.5", "oops", r"a\.ts:6 must have numbers .*, got 'oops' in channel 1, step 2"),
        ("5,6", "5,1e40", r"a\.ts:6 .* got '1e40' in channel 2, step 3"),
        ("5,6", "5,nan", r"a\.ts:6 .* got 'nan' in channel 2, step 3"),
        ("5,6", "5", r"a\.ts:6 must have channels of one length, got 2 to 3"),
        (
            "8,9: down",
            "8,9:1,2: down",
            r"a\.ts:8 must have 2 channels, as the first sequence, got 3",
        ),
        (":up", ":left", r"a\.ts:6 must end with a class of @classLabel \(up, down\), got 'left'"),
        ("@data\n", "", r"a\.ts:5 must be a line of the header, such as @data, got '1,2.5,-3e1"),
        (GOOD[len(HEADER) :], "", r"a\.ts must hold @data and a sequence after it, got none"),
        ("Stamps false", "Stamps true", r"a\.ts:5 must come after @timeStamps false, got a file"),
        (
            "classLabel true up down",
            "targetLabel true",
            r"must come after @classLabel, got @target",
        ),
        (" up down\n", "\n", r"must come after @classLabel true and the classes, got no classes"),
    ],
)
def test_faults_are_named_by_line(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(data.DataError, match=message):
        read(tmp_path, GOOD.replace(old, new, 1))


def test_published_files():
    """Sizes of NATOPS and JapaneseVowels as the archive states them."""
    folder = Path(os.environ.get("SEQJAX_DATA_DIR", "")) / "uea"
    if not folder.is_dir():
        pytest.skip("SEQJAX_DATA_DIR holds no uea")
    sizes = []
    for name in ("NATOPS", "JapaneseVowels"):
        for part in ("TRAIN", "TEST"):
            found = data.read_ts(folder / name / f"{name}_{part}.ts")
            lengths = [len(steps) for steps in found.sequences]
            shape = (len(lengths), found.sequences[0].shape[1], min(lengths), max(lengths))
            sizes.append((*shape, len(found.classes)))
    natops, vowels = sizes[:2], sizes[2:]
    assert natops == [(180, 24, 51, 51, 6)] * 2
    assert vowels == [(270, 12, 7, 26, 9), (370, 12, 7, 29, 9)]
