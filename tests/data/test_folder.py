import pytest

from seqjax.data import DataError, generate_reviews, load_reviews, write_reviews


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in (1, 0):
                text = f"{split} {label} {number} é"
                (tmp_path / split / label / f"{number}.txt").write_text(text, "utf-8")
    return tmp_path


def test_reads_in_order_of_name(folder):
    reviews = load_reviews("folder", data_dir=folder)
    assert reviews.train_texts == [
        "train neg 0 é", "train neg 1 é", "train pos 0 é", "train pos 1 é",
    ]  # fmt: skip
    assert reviews.train_labels.tolist() == reviews.test_labels.tolist() == [0, 0, 1, 1]
    assert reviews.unlabelled == []


def test_reads_unlabelled(folder):
    (folder / "train" / "unsup").mkdir()
    (folder / "train" / "unsup" / "a.txt").write_text("who knows")
    assert load_reviews("folder", data_dir=folder).unlabelled == ["who knows"]


def test_needs_a_folder(tmp_path):
    with pytest.raises(DataError, match="`folder` needs `data_dir`"):
        load_reviews("folder")
    with pytest.raises(DataError, match=r"must be an existing folder, got .*nowhere"):
        load_reviews("folder", data_dir=tmp_path / "nowhere")


def test_names_a_missing_class(folder):
    (folder / "test" / "pos").rename(folder / "test" / "positive")
    with pytest.raises(DataError, match=r"test/pos must be a folder of \.txt files"):
        load_reviews("folder", data_dir=folder)


def test_names_an_empty_class(folder):
    for path in (folder / "train" / "neg").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="train/neg must hold at least one"):
        load_reviews("folder", data_dir=folder)


def test_names_an_undecodable_file(folder):
    (folder / "train" / "neg" / "1.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"neg/1\.txt:1 must be UTF-8 text, got byte 0xe9 at"):
        load_reviews("folder", data_dir=folder)


def test_names_an_unreadable_file(folder):
    (folder / "train" / "neg" / "2.txt").mkdir()
    with pytest.raises(DataError, match=r"neg/2\.txt must be a file, and is a folder"):
        load_reviews("folder", data_dir=folder)


def test_what_is_written_is_read(tmp_path):
    reviews = generate_reviews(num_train=12, num_test=4)
    write_reviews(reviews, tmp_path / "reviews")
    found = load_reviews("folder", data_dir=tmp_path / "reviews")
    for texts, labels, written, truth in (
        (found.train_texts, found.train_labels, reviews.train_texts, reviews.train_labels),
        (found.test_texts, found.test_labels, reviews.test_texts, reviews.test_labels),
    ):
        assert sorted(zip(texts, labels.tolist(), strict=True)) == sorted(
            zip(written, truth.tolist(), strict=True)
        )
    with pytest.raises(DataError, match="train is there already; name another"):
        write_reviews(reviews, tmp_path / "reviews")
