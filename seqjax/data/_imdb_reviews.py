"""The Large Movie Review Dataset: prepared by TFDS, or straight from its published archive.

Reference: Maas et al. (2011), Learning Word Vectors for Sentiment Analysis.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.data._errors import DataError, UnreachableError
from seqjax.data._reviews import Reviews

ARCHIVE_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE_SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fe7008942e91923d1658fe0"
VERSION = "1.0.0"
TIMEOUT_S = 10.0  # to connect, and between two pieces of the answer

_LABELS = {"neg": 0, "pos": 1, "unsup": -1}
_READ_AT_ONCE = 5000  # records; bounds memory and keeps both reader threads busy

Example = tuple[str, int]


def load_imdb_reviews(root: Path, notify: Callable[[str], None] = print) -> Reviews:
    """Loads the reviews prepared under `root`, preparing or downloading them if need be.

    The order is that of the texts' hashes, so both sources give the same reviews, bit for bit.

    Args:
      root: a TFDS data folder; prepared data is in `imdb_reviews/` inside it.
      notify: receives a line before anything is downloaded.

    Returns:
      25,000 train, 25,000 test and 50,000 unlabelled reviews.

    Raises:
      UnreachableError: if the data is not there and cannot be fetched.
      DataError: if what is there is damaged, or what was fetched is not what was published.
    """
    prepared = root / "imdb_reviews" / "plain_text" / VERSION
    if (root / "imdb_reviews").exists():
        file_format = _prepared_format(prepared)
        if file_format == "array_record":
            return _load_prepared(root, prepared)
        notify(
            f"imdb_reviews: {prepared} holds {file_format} files, which only TensorFlow reads; "
            "reading the published archive instead."
        )
    elif not archive_path(root).exists() and _tensorflow_installed():
        _prepare(root, notify)
        return _load_prepared(root, prepared)
    return _load_archive(_fetch_archive(root, notify))


def archive_path(root: Path) -> Path:
    """Returns where the published archive is kept under `root`.

    Example:
      >>> archive_path(Path("data")).as_posix()
      'data/downloads/aclImdb_v1.tar.gz'
    """
    return root / "downloads" / "aclImdb_v1.tar.gz"


# --- prepared by TFDS --------------------------------------------------------------------------


def _prepared_format(prepared: Path) -> str:
    info = prepared / "dataset_info.json"
    try:
        return json.loads(info.read_text("utf-8"))["fileFormat"]
    except FileNotFoundError:
        raise _damaged(prepared, "it is unfinished: no dataset_info.json") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(
            prepared, f"dataset_info.json cannot be read ({_first_line(error)})"
        ) from None


def _load_prepared(root: Path, prepared: Path) -> Reviews:
    try:
        builder = _builder(root)
        splits = {name: builder.info.splits[name] for name in ("train", "test")}
        if "unsupervised" in builder.info.splits:
            splits["unsupervised"] = builder.info.splits["unsupervised"]
        for name, split in splits.items():
            _check_records(prepared, name, split)
        examples = {name: list(_read_split(builder.as_data_source(split=name))) for name in splits}
    except (DataError, ImportError):
        raise
    except Exception as error:  # TFDS and array_record raise whatever their layers raise.
        raise _damaged(prepared, _first_line(error)) from error
    return _reviews(
        examples["train"], examples["test"], examples.get("unsupervised", []), source=prepared
    )


def _builder(root: Path) -> Any:
    with _quiet_tfds():
        import tensorflow_datasets as tfds

        return tfds.builder(
            f"imdb_reviews/plain_text:{VERSION}", data_dir=root, file_format="array_record"
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
                prepared, f"{Path(path).name} cannot be read ({_first_line(error)})"
            ) from None
    if found != split.num_examples:
        raise _damaged(
            prepared, f"`{name}` must hold {split.num_examples} records, it holds {found}"
        )


def _read_split(source: Any) -> Iterator[Example]:
    for start in range(0, len(source), _READ_AT_ONCE):
        for record in source.__getitems__(range(start, min(start + _READ_AT_ONCE, len(source)))):
            yield record["text"].decode("utf-8"), int(record["label"])


def _tensorflow_installed() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _prepare(root: Path, notify: Callable[[str], None]) -> None:
    with _open_url():  # TFDS would wait for minutes where there is no network.
        pass
    notify(f"imdb_reviews: preparing {ARCHIVE_URL} (84 MB) in {root}.")
    try:
        _builder(root).download_and_prepare(file_format="array_record")
    except Exception as error:
        raise DataError(
            f"imdb_reviews: TFDS could not prepare the data in {root}: {_first_line(error)}"
        ) from error


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


# --- the published archive ---------------------------------------------------------------------


def _fetch_archive(root: Path, notify: Callable[[str], None]) -> Path:
    archive = archive_path(root)
    if archive.exists():
        _check_sha256(_sha256(archive), what=str(archive), mend="Delete it to download it again.")
        return archive
    with _open_url() as response:
        notify(f"imdb_reviews: downloading {ARCHIVE_URL} (84 MB) to {archive}.")
        try:
            archive.parent.mkdir(parents=True, exist_ok=True)
            handle, partial = tempfile.mkstemp(dir=archive.parent, suffix=".partial")
        except OSError as error:
            raise DataError(f"imdb_reviews: cannot write to {archive.parent}: {error}") from error
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for piece in _pieces(response):
                    digest.update(piece)
                    file.write(piece)
            _check_sha256(
                digest.hexdigest(), what=ARCHIVE_URL, mend="It was not kept. Try again later."
            )
            os.replace(partial, archive)  # Whoever sees the archive sees all of it.
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
    return archive


def _open_url() -> Any:
    try:
        return urllib.request.urlopen(ARCHIVE_URL, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()  # it is also the answer, still open
        raise _unreachable(error) from error
    except (OSError, HTTPException) as error:  # URLError is an OSError.
        raise _unreachable(error) from error


def _pieces(response: Any) -> Iterator[bytes]:
    expected, received = response.headers.get("Content-Length"), 0
    while True:
        try:
            piece = response.read(1 << 20)
        except (OSError, HTTPException) as error:
            raise _unreachable(error) from error
        if not piece:
            break
        received += len(piece)
        yield piece
    if expected is not None and received < int(expected):
        raise _unreachable(f"the connection ended after {received} of {expected} bytes")


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
        raise _damaged(archive, _first_line(error)) from error
    return _reviews(examples["train"], examples["test"], examples["unsup"], source=archive)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_sha256(got: str, *, what: str, mend: str) -> None:
    if got != ARCHIVE_SHA256:
        raise DataError(
            f"imdb_reviews: {what} must have SHA-256 {ARCHIVE_SHA256}, got {got}. {mend}"
        )


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
        "imdb_reviews",
        train_texts,
        train_labels,
        test_texts,
        test_labels,
        _in_order(unlabelled)[0],
    )


def _in_order(examples: Iterable[Example]) -> tuple[list[str], np.ndarray]:
    ordered = sorted(
        examples, key=lambda pair: (hashlib.sha256(pair[0].encode()).digest(), pair[1])
    )
    return [text for text, _ in ordered], np.array([label for _, label in ordered], np.int32)


def _damaged(path: Path, how: str) -> DataError:
    return DataError(
        f"imdb_reviews: the data in {path} is damaged: {how.rstrip('.')}. "
        "Delete it to have it prepared again, or pass another --data_dir."
    )


def _unreachable(reason: object) -> UnreachableError:
    return UnreachableError(
        f"imdb_reviews: cannot download {ARCHIVE_URL}: {_first_line(reason)}. "
        "Connect to the network, pass --data_dir with prepared data, "
        "or use --dataset=generated_reviews."
    )


def _first_line(error: object) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
