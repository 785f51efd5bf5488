import multiprocessing
import os

import numpy as np
import pytest

from experiments.imdb.cache import encode_reviews
from seqjax.data import DataError, generate_reviews


@pytest.fixture
def reviews():
    return generate_reviews(20, 10)


def notices():
    heard = []
    return heard, heard.append


def test_encodes_every_split_in_order(reviews, tmp_path):
    encoded = encode_reviews(reviews, 50, tmp_path)
    expected = encoded.vocabulary.encode(reviews.test_texts)
    assert [ids.tolist() for ids in encoded.test] == [ids.tolist() for ids in expected]
    assert len(encoded.train) == 20
    assert len(encoded.unlabelled) == 0
    assert len(encoded.vocabulary) == 50
    np.testing.assert_array_equal(encoded.train_labels, reviews.train_labels)


def test_reads_back_the_same_without_encoding(reviews, tmp_path, monkeypatch):
    first = encode_reviews(reviews, 50, tmp_path)
    monkeypatch.setattr("experiments.imdb.cache.build_vocabulary", None)
    second = encode_reviews(reviews, 50, tmp_path)
    np.testing.assert_array_equal(first.train.tokens, second.train.tokens)
    np.testing.assert_array_equal(first.test.offsets, second.test.offsets)
    assert first.vocabulary.words == second.vocabulary.words


def test_key_is_the_content(reviews, tmp_path, monkeypatch):
    encode_reviews(reviews, 50, tmp_path)
    encode_reviews(reviews, 60, tmp_path)
    encode_reviews(generate_reviews(20, 10, seed=1), 50, tmp_path)
    monkeypatch.setattr("experiments.imdb.cache.TOKENIZER_VERSION", 0)
    encode_reviews(reviews, 50, tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == len(list(tmp_path.iterdir())) == 4


def truncated(entry):
    entry.write_bytes(entry.read_bytes()[:-100])


def emptied(entry):
    entry.write_bytes(b"")


def flipped(entry):
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)


def lacking_an_array(entry):
    with np.load(entry) as file:
        arrays = {name: file[name] for name in file.files if name != "test_tokens"}
    np.savez(entry, **arrays)


def changed_inside(entry):
    with np.load(entry) as file:
        arrays = dict(file)
    arrays["train_tokens"][0] += 1
    np.savez(entry, **arrays)


def made_of_objects(entry):
    np.savez(entry, checksum=np.array([None]))


@pytest.mark.parametrize(
    "damage", [truncated, emptied, flipped, lacking_an_array, changed_inside, made_of_objects]
)
def test_damage_is_told_set_aside_and_mended(reviews, tmp_path, damage):
    expected = encode_reviews(reviews, 50, tmp_path).train.tokens
    (entry,) = tmp_path.iterdir()
    name = f"{entry.name}.damaged"  # of which the newest is kept
    for _ in range(2):
        damage(entry)
        bad = entry.read_bytes()
        heard, notify = notices()
        np.testing.assert_array_equal(
            encode_reviews(reviews, 50, tmp_path, notify).train.tokens, expected
        )
        (line,) = heard
        assert f"{entry} is damaged" in line
        assert f"kept as {name}" in line
        assert "\n" not in line
        assert (tmp_path / name).read_bytes() == bad
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([entry.name, name])
    heard, notify = notices()
    encode_reviews(reviews, 50, tmp_path, notify)
    assert heard == []


def test_goes_on_without_a_cache(reviews, tmp_path):
    (tmp_path / "file").write_text("")
    heard, notify = notices()
    assert len(encode_reviews(reviews, 50, tmp_path / "file" / "cache", notify).train) == 20
    assert len(heard) == 1
    assert "cannot write" in heard[0]


def test_what_a_kill_left_is_removed(reviews, tmp_path):
    old, new = tmp_path / "a.npz1.partial", tmp_path / "a.npz2.partial"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    encode_reviews(reviews, 50, tmp_path)
    assert not old.exists()
    assert new.exists()  # another process may be writing it


def test_a_user_without_a_home_has_no_cache(reviews, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    heard, notify = notices()
    assert len(encode_reviews(reviews, 50, notify=notify).train) == 20
    assert "going on without it" in heard[0]
    assert list(tmp_path.iterdir()) == []


def test_default_folder(reviews, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encode_reviews(reviews, 50)
    assert len(list((tmp_path / "seqjax").glob("generated_reviews-*.npz"))) == 1


def _encode(folder):
    heard, notify = notices()
    encoded = encode_reviews(generate_reviews(20, 10), 50, folder, notify)
    return encoded.train.tokens.tolist(), heard


@pytest.mark.extended
def test_two_processes_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(_encode, [tmp_path] * 2, chunksize=1)
    assert all(result == results[0] and result[1] == [] for result in results)
    assert len(list(tmp_path.iterdir())) == 1


def test_small_vocabulary_is_refused(reviews, tmp_path):
    with pytest.raises(DataError, match="at least 3"):
        encode_reviews(reviews, 2, tmp_path)
