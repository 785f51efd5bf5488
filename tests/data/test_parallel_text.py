"""Sentence pairs: readers, vocabularies, the made-up language, batches."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.translate.transduction import (
    ADJECTIVES,
    ARTICLES,
    NOUNS,
    VERBS,
    generate_translations,
)
from seqjax import data
from seqjax.data._parallel_text import Pairs
from seqjax.data._subwords import END_ID, START_ID
from seqjax.data._vocabulary import PADDING_ID, UNKNOWN_ID

TEXTS = ["der hund sieht den kater", "ein hund schläft", "der kater sieht 2 hunde !"]


@pytest.fixture
def folder(tmp_path):
    for part, number in (("train", 3), ("val", 1), ("test", 2)):
        (tmp_path / f"{part}.src").write_text("".join(["a  dog\n", "the cat\n", "x\n"][:number]))
        (tmp_path / f"{part}.tgt").write_text("".join(f"{text}\n" for text in TEXTS[:number]))
    return tmp_path


def test_folder(folder):
    text = data.load_parallel_folder(folder, "src", "tgt")
    assert text.train == Pairs(["a dog", "the cat", "x"], TEXTS)
    assert text.test.targets == TEXTS[:2]
    before = text.sha256
    (folder / "test.src").write_text("a dog\na cat\n")
    assert data.load_parallel_folder(folder, "src", "tgt").sha256 != before


def test_folder_mistakes(folder):
    with pytest.raises(data.DataError, match="--path must be an existing folder"):
        data.load_parallel_folder(folder / "nowhere", "src", "tgt")
    with pytest.raises(data.DataError, match=r"no such file: .*train.xx"):
        data.load_parallel_folder(folder, "xx", "tgt")
    (folder / "val.src").write_text("a\nb\n")
    with pytest.raises(data.DataError, match="must have as many lines, got 2 and 1"):
        data.load_parallel_folder(folder, "src", "tgt")
    (folder / "val.src").write_text("\n\n")
    with pytest.raises(data.DataError, match="must hold at least one sentence"):
        data.load_parallel_folder(folder, "src", "tgt")
    (folder / "val.src").write_bytes(b"\xff\n")
    with pytest.raises(data.DataError, match="must be UTF-8 text"):
        data.load_parallel_folder(folder, "src", "tgt")


def test_multi30k(monkeypatch, tmp_path):
    monkeypatch.delenv("SEQJAX_DATA_DIR", raising=False)
    with pytest.raises(data.DataError, match="--data_dir or SEQJAX_DATA_DIR"):
        data.load_multi30k()
    (tmp_path / "multi30k").mkdir()
    (tmp_path / "multi30k" / "train.en").write_text("a dog\n")
    with pytest.raises(data.DataError, match=r"no such file: .*train.de"):
        data.load_multi30k(tmp_path)


def test_real_multi30k():
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not (Path(root) / "multi30k").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no multi30k")
    text = data.load_multi30k(root)
    assert [len(part.sources) for part in (text.train, text.validation, text.test)] == [
        29_000, 1_014, 1_000,
    ]  # fmt: skip
    assert text.test.sources[0] == "a man in an orange hat starring at something ."
    assert text.test.targets[0].startswith("ein mann mit einem orangefarbenen hut")
    vocabulary = data.build_subword_vocabulary(text.train.targets, 500)
    shown = text.validation.targets[:100]
    assert [vocabulary.decode(ids) for ids in vocabulary.encode(shown)] == shown


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_vocabularies_go_back_and_forth(kind, tmp_path):
    vocabulary = (
        data.build_word_vocabulary(TEXTS)
        if kind == "words"
        else data.build_subword_vocabulary(TEXTS, 60)
    )
    assert vocabulary.words[:4] == ["<pad>", "<unk>", "<start>", "<end>"]
    vocabulary.save(tmp_path / "v.json")
    loaded = data.TextVocabulary.load(tmp_path / "v.json")
    for ids, text in zip(loaded.encode(TEXTS), TEXTS, strict=True):
        padded = [START_ID, *ids, END_ID, ids[0], PADDING_ID]
        assert loaded.decode(padded) == text
        assert "".join(loaded.pieces(ids)).strip() == text
    assert loaded.decode([]) == ""


def test_subwords_spell_unseen_words():
    vocabulary = data.build_subword_vocabulary(TEXTS, 60)
    (ids,) = vocabulary.encode(["hundekater"])
    assert UNKNOWN_ID not in ids
    assert vocabulary.decode(ids) == "hundekater"
    (ids,) = vocabulary.encode(["ψ"])
    assert set(ids.tolist()) == {UNKNOWN_ID}


def test_rare_words_are_unknown():
    vocabulary = data.build_word_vocabulary(TEXTS, min_frequency=2)
    assert sorted(vocabulary.words[4:]) == ["der", "hund", "kater", "sieht"]
    with pytest.raises(data.DataError, match="frequent enough"):
        data.build_word_vocabulary(TEXTS, min_frequency=9)
    with pytest.raises(data.DataError, match=r"must hold the alphabet .* got 10"):
        data.build_subword_vocabulary(TEXTS, 10)
    with pytest.raises(data.DataError, match="frequent enough, got none"):
        data.build_subword_vocabulary([""], 100)


def test_made_up_language():
    text = generate_translations(50, 10)
    again = generate_translations(50, 10)
    assert text == again != generate_translations(50, 10, seed=1)
    parts = (text.train, text.validation, text.test)
    assert [len(part.sources) for part in parts] == [50, 10, 10]
    sources = [source for part in parts for source in part.sources]
    assert len(set(sources)) == 70
    for part in parts:
        for source, target in zip(*part, strict=True):
            words, others = source.split(), target.split()
            (verb,) = [VERBS[word] for word in words if word in VERBS]
            assert others[-1] == verb
            nouns = [place for place, word in enumerate(words) if word in NOUNS]
            begin = 0
            for place in nouns:
                stem, ending = NOUNS[words[place]]
                ending += "j" * ("many" in words[begin:place])
                assert stem + ending in others
                for word in words[begin:place]:
                    if word in ADJECTIVES:
                        assert ADJECTIVES[word] + ending in others
                    if word in ARTICLES:
                        assert ARTICLES[word] + ending in others
                begin = place
    with pytest.raises(data.DataError, match="`num_test` must be at least 1, got 0"):
        generate_translations(5, 0)


LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 9)), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 4), st.integers(1, 3), st.integers(1, 7), st.booleans())
def test_every_pair_is_in_one_batch(lengths, num_target, num_source, batch_size, shuffled):
    sources = [np.full(s, number + 1) for number, (s, _) in enumerate(lengths)]
    targets = [np.full(t, number + 1) for number, (_, t) in enumerate(lengths)]
    buckets = data.pair_buckets(*zip(*lengths, strict=True), num_target, num_source)
    assert len(buckets) <= num_target * num_source
    rng = np.random.default_rng(0) if shuffled else None
    batches = data.pair_batches(sources, targets, batch_size, buckets, rng=rng)
    found = []
    for batch in batches:
        assert (batch.source.shape[1], batch.target.shape[1]) in buckets
        assert len(batch.source) == len(batch.target) == batch_size
        for row in range(batch_size):
            source_length, length = batch.source_lengths[row], batch.target_lengths[row]
            assert not batch.source[row, source_length:].any()
            assert not batch.target[row, length:].any()
            if length:
                number = int(batch.target[row, 0]) - 1
                assert (batch.target[row, :length] == number + 1).all()
                assert (batch.source[row, :source_length] == number + 1).all()
                assert (source_length, length) == lengths[number]
                found.append(number)
    assert sorted(found) == list(range(len(lengths)))


def test_buckets_pad_no_more_than_any_other_cut():
    rng = np.random.default_rng(0)
    targets = rng.integers(1, 9, 50)
    (one, two, three) = [
        t for _, t in data.pair_buckets(np.ones(50, int), targets, 3, 1, multiple=1)
    ]
    bounds = np.array([one, two, three])
    mine = bounds[np.searchsorted(bounds, targets)].sum()
    for first in range(1, 8):
        for second in range(first + 1, 8):
            other = np.array([first, second, targets.max()])
            assert mine <= other[np.searchsorted(other, targets)].sum()


def test_batches_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"pair 1 has lengths \[3, 1\], and fits none"):
        data.pair_batches([np.ones(1), np.ones(3)], [np.ones(1)] * 2, 2, [(2, 2)], rng=None)
    with pytest.raises(ValueError, match="must have one length, got 1 and 0"):
        data.pair_batches([np.ones(1)], [], 2, [(2, 2)], rng=None)
    with pytest.raises(ValueError, match="must have one length, got 1 and 2"):
        data.pair_buckets([1], [1, 2], 1, 1)
    with pytest.raises(ValueError, match="`num_target` must be an integer of at least 1"):
        data.pair_buckets([1], [1], 0, 1)
