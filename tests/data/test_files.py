"""What lies in a user's folders: stray files, byte-order marks, pipes, and where data is found."""

import inspect
import os

import pytest

from experiments.classify.class_folders import find_class_folders
from seqjax import data
from seqjax.data._conllu import load_conllu
from seqjax.data._text_file import list_files, read_text

STRAY = ("._1.txt", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", ".hidden.txt")
WORD = "1\tgo\t_\tVERB\t_\t_\t_\t_\t_\t_\n\n"


def litter(folder):
    for name in STRAY:
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
        for suffix in (".wav", ".txt", ".conllu"):
            (folder / f"._stray-train{suffix}").write_bytes(b"\x00\x05\x16\x07")


def reviews(root):
    for split in ("train", "test"):
        for label in ("neg", "pos"):
            (root / split / label).mkdir(parents=True)
            (root / split / label / "1.txt").write_text("\ufeffgood", "utf-8")
            litter(root / split / label)
    found = data.load_reviews("folder", data_dir=root)
    return [*found.train_texts, *found.test_texts]


def classes(root):
    for name in ("cat", "dog"):
        (root / name).mkdir()
        (root / name / "1.txt").write_text("\ufeffgood", "utf-8")
        litter(root / name)
    (root / "__MACOSX").mkdir()
    return [read_text(path) for path in find_class_folders(root).paths]


def treebank(root):
    for part in ("train", "dev", "test"):
        (root / f"x-{part}.conllu").write_text("\ufeff" + WORD, "utf-8")
    litter(root)
    return [sentence.words[0] for part in load_conllu(root)[1:] for sentence in part]


def pairs(root):
    for part in ("train", "val", "test"):
        for suffix in ("a", "b"):
            (root / f"{part}.{suffix}").write_text("\ufeffgood day\n", "utf-8")
    found = data.load_parallel_folder(root, "a", "b")
    return [text for part in (found.train, found.validation, found.test) for side in part
            for text in side]  # fmt: skip


def splice(root):
    (root / "splice.csv").write_text("\ufeffClass,Donor,Sequence\nEI,x," + "A" * 60, "utf-8")
    return data.load_splice(root).sequences


def shakespeare(root):
    (root / "input.txt").write_text("\ufeffto be\r\nor not", "utf-8")
    return [data.load_shakespeare(root)]


def table(root):
    (root / "a.csv").write_text("\ufeffa,b\n1,2\n", "utf-8")
    return list(data.read_table(root / "a.csv").columns)


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (reviews, ["good"] * 4),
        (classes, ["good"] * 2),
        (treebank, ["go"] * 3),
        (pairs, ["good day"] * 6),
        (splice, ["A" * 60]),
        (shakespeare, ["to be\nor not"]),
        (table, ["a", "b"]),
    ],
)
def test_stray_files_and_byte_order_marks_are_left_out(read, wanted, tmp_path):
    assert read(tmp_path) == wanted


@pytest.mark.parametrize(
    "read", [read_text, data.read_table, data.read_wav, data.read_conllu], ids=lambda f: f.__name__
)
def test_what_is_no_file_is_refused_and_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for path in list_files(tmp_path):
        with pytest.raises(data.DataError, match=f"{path} must be a file, and is a pipe or"):
            read(path)
    with pytest.raises(data.DataError, match="must be a file, and is a folder"):
        read(tmp_path)
    with pytest.raises(data.DataError, match=r"no such file: nofile.csv"):
        read("nofile.csv")
    for path in ("x" * 300, "a\0b", "~nosuchuser/x"):
        with pytest.raises(data.DataError, match="cannot be read"):
            read(path)


# Where each published data set is looked for: a file, from the folder above its own.
PLACES = {
    data.load_chorales: ["jsb_chorales/Jsb16thSeparated.json"],
    data.load_ett: ["ett/ETTh1.csv"],
    data.load_half_cheetah: ["half_cheetah/trace_0000.npy"],
    data.load_multi30k: ["multi30k/train.en"],
    data.load_sequential_mnist: ["tensorflow_datasets/mnist/3.0.1/dataset_info.json"],
    data.load_shakespeare: ["tinyshakespeare/input.txt"],
    data.load_splice: ["splice/splice.csv"],
    data.load_spoken_digits: ["fsdd/recordings/0_a_0.wav"],
    data.load_ud_partut: ["ud_partut/x-train.conllu", "UD_English-ParTUT/y-train.conllu"],
    data.load_reviews: ["tensorflow_datasets/imdb_reviews/plain_text/1.0.0/dataset_info.json"],
}


def test_every_reader_of_published_data_is_here():
    readers = {
        value
        for name, value in vars(data).items()
        if name.startswith("load_") and "data_dir" in inspect.signature(value).parameters
    }
    assert readers == set(PLACES)


@pytest.mark.parametrize(
    ("load", "name"),
    [(load, name) for load, names in PLACES.items() for name in names],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_data_is_found_in_its_own_folder_and_above(load, name, tmp_path, monkeypatch):
    monkeypatch.setattr("seqjax.data._imdb_reviews.ARCHIVE_URL", "http://127.0.0.1:9/none")
    with pytest.raises(data.DataError, match=r"must hold|does not hold"):
        load(data_dir=tmp_path)
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\xff")
    places = [tmp_path, *(tmp_path / parent for parent in list(file.relative_to(tmp_path).parents))]
    for place in places:
        # It is damaged, so that the error names what was found and read.
        with pytest.raises(data.DataError) as error:
            load(data_dir=place)
        assert str(file.parent) in str(error.value)
        assert "--data_dir must hold" not in str(error.value)
        assert "does not hold" not in str(error.value)
