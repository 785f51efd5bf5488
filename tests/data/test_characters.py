"""Texts as characters."""

import os
from pathlib import Path

import numpy as np
import pytest

from experiments.generate.characters import split_characters
from experiments.generate.grammar_text import grammar_entropy, grammar_text
from seqjax import data
from seqjax.data._text_file import read_text


def test_a_text_is_split_in_time():
    text = "".join(np.random.default_rng(0).choice(list("abc é\n"), 200))
    split = split_characters(text)
    assert (split.learnt, split.test, len(split.ids)) == (10, 180, 200)
    assert split.alphabet.decode(split.ids) == text
    assert split.alphabet.decode(split.train) == text[10:180]
    assert split.alphabet.characters == "".join(sorted(set(text)))
    assert split_characters(text + "a").sha256 != split.sha256


def test_mistakes_are_refused(tmp_path):
    with pytest.raises(data.DataError, match="got '%' in 'a%b'"):
        data.Alphabet("ab").encode("a%b")
    with pytest.raises(data.DataError, match="at least two characters, got 0, 10 and 1"):
        split_characters("hello world")
    with pytest.raises(ValueError, match="whose sum is below 1"):
        split_characters("hello", validation_fraction=0.5, test_fraction=0.5)
    with pytest.raises(data.DataError, match=r"no such file: .*none\.txt"):
        read_text(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("für".encode("latin-1"))
    with pytest.raises(data.DataError, match="must be UTF-8 text, got byte 0xfc at position 1"):
        read_text(tmp_path / "latin.txt")
    with pytest.raises(data.DataError, match=r"must hold tinyshakespeare/input\.txt"):
        data.load_shakespeare(tmp_path)


def test_tiny_shakespeare():
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not (Path(root) / "tinyshakespeare").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no tinyshakespeare")
    split = split_characters(data.load_shakespeare())
    assert len(split.alphabet.characters) == 65
    assert len(split.ids) - split.test == 111_539


def test_sentences_of_the_grammar_agree_and_have_its_entropy():
    text = grammar_text(np.random.default_rng(0), 3000)
    lines = text.splitlines()
    assert text == grammar_text(np.random.default_rng(0), 3000)
    clauses = 0
    for line in lines:
        words = line.removesuffix(".").split()
        clauses += "that" in words
        plural = words[0] in ("all", "two")
        verbs = [words[2]] if words[2] != "that" else [words[3], words[6]]
        assert all(verb in (("see", "hear") if plural else ("sees", "hears")) for verb in verbs)
    assert clauses / len(lines) == pytest.approx(0.3, abs=0.03)
    counts = np.unique(lines, return_counts=True)[1]
    short = np.array([count for count, line in zip(counts, np.unique(lines), strict=True)
                      if "that" not in line])  # fmt: skip
    # 2 x 2 x 3 subjects, as many objects and 2 verbs: every one is as likely as another.
    assert len(short) == 288
    assert grammar_entropy() == pytest.approx(
        np.log(288) + 0.3 * np.log(24) - 0.3 * np.log(0.3) - 0.7 * np.log(0.7)
    )
