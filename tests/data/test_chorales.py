"""Music as piano rolls."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from experiments.generate.chord_progressions import chord_progressions
from experiments.generate.pieces import transposed
from seqjax import data
from seqjax.data._chorales import piano_roll

PIECE = [[60, 64, 67, -1]] * 5 + [[62, 65, 65, 48]] * 4


def test_a_file_of_sixteenths_is_read_at_quarters(tmp_path):
    content = {"train": [PIECE, PIECE[:5]], "valid": [PIECE], "test": [PIECE]}
    folder = tmp_path / "jsb_chorales"
    folder.mkdir()
    (folder / "Jsb16thSeparated.json").write_text(json.dumps(content))
    rolls = data.load_chorales(tmp_path)
    assert [len(roll) for part in rolls for roll in part] == [3, 2, 3, 3]
    notes = [(np.flatnonzero(step) + 21).tolist() for step in rolls.test[0]]
    assert notes == [[60, 64, 67], [60, 64, 67], [48, 62, 65]]
    fine = data.load_chorales(folder, every=1)
    assert len(fine.test[0]) == 9
    assert fine.sha256 != rolls.sha256


@pytest.mark.parametrize("content", ["{", "[]", '{"train": []}', '{"train": [[["a"]]]}',
                                     '{"train": [], "valid": [], "test": []}'])  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "Jsb16thSeparated.json").write_text(content)
    with pytest.raises(data.DataError, match=r"chorales: .*Copy it again\."):
        data.load_chorales(tmp_path)


def test_rolls_are_checked():
    with pytest.raises(data.DataError, match="must be from 21 to 108, got 20"):
        piano_roll([[20]])
    with pytest.raises(data.DataError, match="at least one step"):
        piano_roll([])


def test_transposition_keeps_the_music_and_the_range():
    rng = np.random.default_rng(0)
    rolls = [*chord_progressions(rng, 30), np.zeros((3, 88), np.float32)]
    notes = np.flatnonzero(np.any(np.concatenate(rolls), axis=0))
    intervals = set()
    for _ in range(20):
        for old, new in zip(rolls, transposed(rolls, rng, 3), strict=True):
            sounding = [np.flatnonzero(roll.any(axis=0)) for roll in (old, new)]
            if not len(sounding[0]):
                assert not new.any()
                continue
            interval = int(sounding[1][0] - sounding[0][0])
            intervals.add(interval)
            np.testing.assert_array_equal(np.roll(old, interval, axis=1), new)
            assert notes[0] <= sounding[1][0] <= sounding[1][-1] <= notes[-1]
    assert intervals == {-3, -2, -1, 0, 1, 2, 3}
    for old, new in zip(rolls, transposed(rolls, rng, 0), strict=True):
        np.testing.assert_array_equal(old, new)


def test_progressions_obey_their_rules():
    pieces = chord_progressions(np.random.default_rng(0), 50)
    assert {len(piece) for piece in pieces} == set(range(12, 25))
    for piece in pieces:
        assert (piece.sum(axis=1) == 4).all()  # four voices
        np.testing.assert_array_equal(piece[: len(piece) // 2 * 2 : 2], piece[1::2])
        assert not (piece[2::2] == piece[: len(piece) - 2 : 2][: len(piece[2::2])]).all(1).any()
        bass = np.flatnonzero(piece[0])[0] + 21
        assert bass in (48, 53)  # the tonic comes first


def test_bach():
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not (Path(root) / "jsb_chorales").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no jsb_chorales")
    rolls = data.load_chorales()
    assert [len(part) for part in rolls] == [229, 76, 77]
    assert [sum(map(len, part)) for part in rolls] == [13_807, 4_602, 4_725]
