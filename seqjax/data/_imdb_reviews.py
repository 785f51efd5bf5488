"""The Large Movie Review Dataset: prepared by TFDS, or as it is published.

Reference: Maas et al. (2011), Learning Word Vectors for Sentiment Analysis.
"""

import hashlib
import json
import logging
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seqjax._errors import first_line
from seqjax.data._data_dir import PREPARED, find_prepared, look_up
from seqjax.data._errors import DataError, UnreachableError
from seqjax.data._folder import load_folder
from seqjax.data._prepared import prepared_builder, records_of
from seqjax.data._reviews import Reviews
from seqjax.data._text_file import regular_file

ARCHIVE_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE_SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fe7008942e91923d1658fe0"
REVIEWS_SHA256 = "1bfe212b13476799d0dc880c2ff3fe826e80046ee8ece9f8ef59b76bce0a458f"
VERSION = "1.0.0"
TIMEOUT_S = 10.0  # to connect, and between two pieces of the answer

_DATASET = f"imdb_reviews/plain_text/{VERSION}"
_LABELS = {"neg": 0, "pos": 1, "unsup": -1}

Example = tuple[str, int]


def load_imdb_reviews(root: Path, notify: Callable[[str], None] = print) -> Reviews:
    """Loads the reviews that lie under `root`, downloading the archive if there are none.

    The order is that of the texts' hashes, so every source gives the same reviews, bit for bit.

    Args:
      root: a folder with the reviews as TFDS prepares them, with the published archive, or with
        what it unpacks to; any of them may lie where `find_prepared` and `look_up` look.
      notify: receives a line before anything is downloaded.

    Returns:
      25,000 train, 25,000 test and 50,000 unlabelled reviews.

    Raises:
      UnreachableError: if the data is not there and cannot be fetched.
      DataError: if what is there is damaged, or what was fetched is not what was published.
    """
    data_dir = find_prepared(root, _DATASET)
    if data_dir is not None:
        prepared = data_dir / _DATASET
        file_format = _prepared_format(prepared)
        if file_format == "array_record":
            return _load_prepared(data_dir, prepared)
        notify(
            f"imdb_reviews: {prepared} holds {file_format} files, which only TensorFlow reads; "
            "reading the published archive instead."
        )
    else:
        unfinished = look_up(root, [f"{PREPARED}/imdb_reviews/plain_text"])
        if unfinished is not None:
            raise _damaged(unfinished / VERSION, "it is unfinished: no dataset_info.json")
    archive = look_up(root, [f"{PREPARED}/downloads/{archive_path(root).name}"])
    if archive is not None:
        _check_archive(archive)
        return _load_archive(archive)
    unpacked = look_up(root, ["aclImdb/train"])
    if unpacked is not None and (unpacked / "pos").is_dir():
        return _load_unpacked(unpacked.parent)
    return _load_archive(_fetch_archive(archive_path(root), notify))


def archive_path(root: Path) -> Path:
    """Returns where the published archive is kept under `root`.

    Example:
      >>> archive_path(Path("data")).as_posix()
      'data/downloads/aclImdb_v1.tar.gz'
    """
    base = root / PREPARED if (root / PREPARED).is_dir() else root
    return base / "downloads" / "aclImdb_v1.tar.gz"


# --- prepared by TFDS --------------------------------------------------------------------------


def _prepared_format(prepared: Path) -> str:
    info = prepared / "dataset_info.json"
    try:
        return json.loads(info.read_text("utf-8"))["fileFormat"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(
            prepared, f"dataset_info.json cannot be read ({first_line(error)})"
        ) from None


def _load_prepared(root: Path, prepared: Path) -> Reviews:
    try:
        builder = prepared_builder(f"imdb_reviews/plain_text:{VERSION}", root)
        splits = {name: builder.info.splits[name] for name in ("train", "test")}
        if "unsupervised" in builder.info.splits:
            splits["unsupervised"] = builder.info.splits["unsupervised"]
        for name, split in splits.items():
            _check_records(prepared, name, split)
        examples = {name: list(_read_split(builder.as_data_source(split=name))) for name in splits}
    except (DataError, ImportError):
        raise
    except Exception as error:  # TFDS and array_record raise whatever their layers raise.
        raise _damaged(prepared, first_line(error)) from error
    return _reviews(
        examples["train"], examples["test"], examples.get("unsupervised", []), source=prepared
    )


def _check_records(prepared: Path, name: str, split: Any) -> None:
    from array_record.python.array_record_module import ArrayRecordReader

    found = 0
    for path in split.filepaths:
        # An unreadable file is found here, by name, before the readers' threads touch it.
        try:
            reader = ArrayRecordReader(str(path))
            found += reader.num_records()
            reader.close()
        except Exception as error:
            raise _damaged(
                prepared, f"{Path(path).name} cannot be read ({first_line(error)})"
            ) from None
    if found != split.num_examples:
        raise _damaged(
            prepared, f"`{name}` must hold {split.num_examples} records, it holds {found}"
        )


def _read_split(source: Any) -> Iterator[Example]:
    for record in records_of(source):
        yield record["text"].decode("utf-8"), int(record["label"])


# --- as it is published ------------------------------------------------------------------------


def _check_archive(archive: Path) -> None:
    import pooch

    try:
        got = pooch.file_hash(str(regular_file(archive)))
    except OSError as error:
        raise DataError(f"imdb_reviews: {archive} cannot be read: {error.strerror}.") from None
    if got != ARCHIVE_SHA256:
        raise DataError(
            f"imdb_reviews: {archive} must have SHA-256 {ARCHIVE_SHA256}, got {got}. Delete it to "
            "download it again."
        )


def _fetch_archive(archive: Path, notify: Callable[[str], None]) -> Path:
    import pooch
    from requests import RequestException

    notify(f"imdb_reviews: downloading {ARCHIVE_URL} (84 MB) to {archive}.")
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        pooch.retrieve(
            ARCHIVE_URL,
            f"sha256:{ARCHIVE_SHA256}",
            fname=archive.name,
            path=archive.parent,
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT_S),  # pyright: ignore[reportArgumentType]
        )
    except RequestException as error:  # which is an OSError
        raise UnreachableError(
            f"imdb_reviews: cannot download {ARCHIVE_URL}: {first_line(error)}. "
            "Connect to the network, pass --data_dir with the reviews, "
            "or use --dataset=generated_reviews."
        ) from error
    except ValueError as error:  # the hash; pooch keeps nothing
        raise DataError(
            f"imdb_reviews: {ARCHIVE_URL} must have SHA-256 {ARCHIVE_SHA256}: "
            f"{' '.join(str(error).split())} It was not kept. Try again later."
        ) from error
    except OSError as error:
        raise DataError(f"imdb_reviews: cannot write to {archive.parent}: {error}") from error
    return archive


def _load_archive(archive: Path) -> Reviews:
    examples: dict[str, list[Example]] = {"train": [], "test": [], "unsup": []}
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                parts = Path(member.name).parts  # aclImdb/train/pos/0_9.txt
                file = tar.extractfile(member)
                if file is None or len(parts) != 4 or parts[2] not in _LABELS:
                    continue
                split = "unsup" if parts[2] == "unsup" else parts[1]
                examples[split].append((file.read().decode("utf-8"), _LABELS[parts[2]]))
    except Exception as error:  # tarfile raises whatever a broken header leads to
        raise _damaged(archive, first_line(error)) from error
    return _reviews(examples["train"], examples["test"], examples["unsup"], source=archive)


def _load_unpacked(folder: Path) -> Reviews:
    found = load_folder(folder)
    reviews = _reviews(
        zip(found.train_texts, found.train_labels.tolist(), strict=True),
        zip(found.test_texts, found.test_labels.tolist(), strict=True),
        ((text, -1) for text in found.unlabelled),
        source=folder,
    )
    if reviews.sha256 != REVIEWS_SHA256:
        raise DataError(
            f"imdb_reviews: {folder} must hold the published reviews, and holds "
            f"{len(reviews.train_texts)} and {len(reviews.test_texts)} others. Use "
            "--dataset=folder for your own, or unpack the archive again."
        )
    return reviews


# --- both --------------------------------------------------------------------------------------


def _reviews(
    train: Iterable[Example], test: Iterable[Example], unlabelled: Iterable[Example], source: Path
) -> Reviews:
    train_texts, train_labels = _in_order(train)
    test_texts, test_labels = _in_order(test)
    for split, labels in (("train", train_labels), ("test", test_labels)):
        if set(labels.tolist()) != {0, 1}:
            raise _damaged(source, f"`{split}` must hold both labels, 0 and 1")
    return Reviews(
        "imdb_reviews", train_texts, train_labels, test_texts, test_labels, _in_order(unlabelled)[0]
    )


def _in_order(examples: Iterable[Example]) -> tuple[list[str], np.ndarray]:
    ordered = sorted(
        examples, key=lambda pair: (hashlib.sha256(pair[0].encode()).digest(), pair[1])
    )
    return [text for text, _ in ordered], np.array([label for _, label in ordered], np.int32)


def _damaged(path: Path, how: str) -> DataError:
    return DataError(
        f"imdb_reviews: the data in {path} is damaged: {how.rstrip('.')}. "
        "Delete it to have it fetched again, or pass another --data_dir."
    )
