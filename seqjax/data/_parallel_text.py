"""Sentence pairs: a text in one language beside its translation, line by line."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seqjax.data._data_dir import find_data
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, read_text

SOURCE = "https://github.com/multi30k/dataset"


class Pairs(NamedTuple):
    """Sentences and their translations, words set apart by spaces."""

    sources: list[str]
    targets: list[str]


@dataclasses.dataclass(frozen=True)
class ParallelText:
    """Training, validation and test part of a translation task.

    Attributes:
      name: of the data.
      train: pairs to learn from.
      validation: pairs to choose the epoch.
      test: pairs to judge by.
    """

    name: str
    train: Pairs
    validation: Pairs
    test: Pairs

    @property
    def sha256(self) -> str:
        """Hash of all sentences."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            for texts in part:
                digest.update(f"{len(texts)}\n".encode())
                digest.update("\n".join(texts).encode())
        return digest.hexdigest()


def load_multi30k(data_dir: AnyPath | None = None) -> ParallelText:
    """Loads English captions of pictures and their German translations, 29,000 / 1,014 / 1,000.

    Args:
      data_dir: folder with `multi30k/{train,val,test_2016_flickr}.{en,de}`, or that folder itself;
        `SEQJAX_DATA_DIR` by default.

    Returns:
      The pairs in `train`, `validation` and `test`, each with its `sources` and `targets`, lists of
      sentences, tokenised and lower-cased as published.

    Raises:
      DataError: if a file is missing or damaged.

    Example:
      >>> load_multi30k("data").train.targets[0]  # doctest: +SKIP
      'zwei junge weiße männer sind im freien in der nähe vieler büsche .'

    Reference: Elliott et al. (2016), Multi30K: multilingual English-German image descriptions.
    """
    folder = find_data("multi30k", ["multi30k/train.en"], data_dir, SOURCE).parent
    return _read_parts("multi30k", folder, ("train", "val", "test_2016_flickr"), ("en", "de"))


def load_parallel_folder(path: AnyPath, source_suffix: str, target_suffix: str) -> ParallelText:
    """Loads your own pairs: `{train,val,test}.{source,target suffix}`, a sentence a line.

    Args:
      path: the folder.
      source_suffix: how the names of the files to translate from end, such as "src".
      target_suffix: how those of the translations end.

    Returns:
      The pairs in `train`, `validation` and `test`, each with its `sources` and `targets`, lists of
      sentences; a line is cut into words at its white space.

    Raises:
      DataError: if the folder or a file is missing, damaged, empty, or the two files of a part
        have different numbers of lines.
      ValueError: if both suffixes are the same.
    """
    if source_suffix == target_suffix:
        raise ValueError(
            "load_parallel_folder: `source_suffix` and `target_suffix` must differ, got "
            f"{source_suffix!r} for both."
        )
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(f"folder: --path must be an existing folder, got {str(folder)!r}.")
    return _read_parts("folder", folder, ("train", "val", "test"), (source_suffix, target_suffix))


def _read_parts(
    name: str, folder: Path, parts: Sequence[str], suffixes: tuple[str, str]
) -> ParallelText:
    return ParallelText(name, *(_read_pairs(name, folder, part, suffixes) for part in parts))


def _read_pairs(name: str, folder: Path, part: str, suffixes: tuple[str, str]) -> Pairs:
    paths = [folder / f"{part}.{suffix}" for suffix in suffixes]
    sources, targets = (_read_lines(name, path) for path in paths)
    if len(sources) != len(targets):
        raise DataError(
            f"{name}: {paths[0]} and {paths[1].name} must have as many lines, got {len(sources)} "
            f"and {len(targets)}."
        )
    return Pairs(sources, targets)


def _read_lines(name: str, path: Path) -> list[str]:
    # Only \n ends a line: splitlines() would also cut at signs that stand inside sentences.
    lines = [" ".join(line.split()) for line in read_text(path).removesuffix("\n").split("\n")]
    if not any(lines):
        raise DataError(f"{name}: {path} must hold at least one sentence, got none.")
    return lines
