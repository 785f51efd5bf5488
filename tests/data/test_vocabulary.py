import numpy as np
import pytest

from seqjax.data import (
    DataError,
    TextVocabulary,
    Vocabulary,
    build_vocabulary,
    build_word_vocabulary,
)
from seqjax.data._vocabulary import PADDING_ID, UNKNOWN_ID


@pytest.fixture
def vocabulary():
    return build_vocabulary(["The plot, the PLOT! isn’t bad.<br /><br />Café?"], 100)


def words(vocabulary, text):
    known = vocabulary.words
    return [known[index] for index in vocabulary.encode([text])[0]]


def test_a_break_that_never_ends_is_no_panic():
    text = "good <br" + " " * 10_000_000 + "day <br" + " " * 50 + "/>"
    assert build_vocabulary([text], 9).words == ["<pad>", "<unk>", "br", "day", "good"]


def test_special_ids_come_first(vocabulary):
    assert (PADDING_ID, UNKNOWN_ID) == (0, 1)
    assert vocabulary.words[:2] == ["<pad>", "<unk>"]
    assert len(vocabulary) == len(vocabulary.words)


def test_frequent_words_come_first_and_ties_in_order():
    assert build_vocabulary(["c b a a d"], 5).words == ["<pad>", "<unk>", "a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("THE Plot", ["the", "plot"]),
        ("isn't", ["isn't"]),
        ("isn’t", ["isn't"]),
        ("'bad' (plot)", ["bad", "plot"]),
        ("cafe? café!", ["cafe", "?", "cafe", "!"]),
        ("bad<br /><br />plot<br>the", ["bad", "plot", "the"]),
        ("bad-plot, the.", ["bad", "plot", ",", "the", "."]),
        ("unheard", ["<unk>"]),
        ("<pad>", ["<unk>"]),  # a word of the text, never padding
        ("", []),
    ],
)
def test_tokens(vocabulary, text, expected):
    assert words(vocabulary, text) == expected


def test_encode_gives_int32_in_order(vocabulary):
    texts = ["plot"] * 2500 + ["bad plot"]
    encoded = vocabulary.encode(texts)
    assert [len(ids) for ids in encoded] == [1] * 2500 + [2]
    assert all(ids.dtype == np.int32 for ids in encoded)


def test_save_and_load(vocabulary, tmp_path):
    vocabulary.save(tmp_path / "vocabulary.json")
    again = Vocabulary.load(tmp_path / "vocabulary.json")
    assert again.words == vocabulary.words
    assert words(again, "the CAFÉ!") == ["the", "cafe", "!"]


def test_load_refuses_another_file(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "missing.json"):
        with pytest.raises(DataError, match=f"{name} must be a file written by Vocabulary.save"):
            Vocabulary.load(tmp_path / name)


def test_size_is_checked():
    with pytest.raises(DataError, match="`size` must be at least 3"):
        build_vocabulary(["a"], 2)
    with pytest.raises(TypeError, match=r"`size` must be an integer, got 10\.0"):
        build_vocabulary(["a"], 10.0)
    with pytest.raises(DataError, match="`texts` must hold at least one word"):
        build_vocabulary(["--", ""], 10)


def test_special_ids_are_those_of_the_special_tokens():
    assert [Vocabulary.padding_id, Vocabulary.unknown_id] == [0, 1]
    words = build_word_vocabulary(["a dog"]).words
    ids = ("padding_id", "unknown_id", "start_id", "end_id")
    special = [words[getattr(TextVocabulary, name)] for name in ids]
    assert special == ["<pad>", "<unk>", "<start>", "<end>"]
