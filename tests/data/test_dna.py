import os

import numpy as np
import pytest

from experiments.classify.motifs import _FIRST, _SECOND, generate_motifs
from seqjax.data import DataError, encode_dna, load_splice

ROW = "EI, name, " + "ACGTN" * 12


def write(tmp_path, *rows):
    (tmp_path / "splice").mkdir()
    (tmp_path / "splice" / "splice.csv").write_text("\n".join(rows))
    return tmp_path


def test_letters_are_probabilities():
    found = encode_dna("acgtuNrSd")
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found[:4], np.eye(4))
    assert found[4].tolist() == [0, 0, 0, 1]
    assert found[7].tolist() == [0, 0.5, 0.5, 0]
    with pytest.raises(DataError, match=r"x: letter 3 must be a base or one of .*, got 'J'"):
        encode_dna("acJ", "x")
    with pytest.raises(DataError, match="at least one letter is required"):
        encode_dna("")


def test_splice_is_read_as_published(tmp_path):
    found = load_splice(write(tmp_path, "Class, Donor, Sequence", ROW, ROW.replace("EI", "N")))
    assert found.sequences == ["ACGTN" * 12] * 2
    assert found.labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,b", ROW], "must have the header Class,Donor,Sequence"),
        ([], "must have the header"),
        (["Class,Donor,Sequence"], "rows below it"),
        (["Class,Donor,Sequence", ROW, "XX" + ROW[2:]], "row 3: a class EI, IE or N"),
        (["Class,Donor,Sequence", ROW + "A"], "row 2: 60 letters are required, got 61"),
        (["Class,Donor,Sequence", ROW[:-1] + "?"], "row 2: letter 60 must be a base"),
        (["Class,Donor,Sequence", "EI,ACGT"], "row 2: a class"),
    ],
)
def test_faults_of_the_file_are_named(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load_splice(write(tmp_path, *rows))


def test_splice_needs_its_file(tmp_path):
    with pytest.raises(DataError, match=r"must hold splice/splice\.csv"):
        load_splice(tmp_path)


def test_motifs_are_where_their_class_says():
    found = generate_motifs(np.random.default_rng(0), 90, length=30)
    assert np.bincount(found.labels).tolist() == [30, 30, 30]
    for letters, label in zip(found.sequences, found.labels, strict=True):
        assert 22 <= len(letters) <= 30
        first, second = letters.find(_FIRST), letters.rfind(_SECOND)
        if label == 0:
            assert 0 <= first <= second - 6
        elif label == 1:
            assert 0 <= letters.find(_SECOND) <= letters.rfind(_FIRST) - 6
        else:
            assert max(letters.count(_FIRST), letters.count(_SECOND)) >= 2
    with pytest.raises(ValueError, match="`length` must be at least 16, got 9"):
        generate_motifs(np.random.default_rng(0), 3, length=9)


def test_real_splice():
    if not os.path.exists(os.path.join(os.environ.get("SEQJAX_DATA_DIR", ""), "splice")):
        pytest.skip("SEQJAX_DATA_DIR holds no splice")
    found = load_splice()
    assert np.bincount(found.labels).tolist() == [767, 768, 1655]
    assert len(set(found.sequences)) == 3005
