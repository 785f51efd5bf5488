"""Tagged sentences in CoNLL-U, the format of Universal Dependencies.

A word is a line of ten fields, separated by tabs; a sentence ends with an empty line. Lines that
begin with # are comments. Ranges such as 1-2, which say how a written word was divided, and empty
nodes such as 1.1 are no words of their own and are left out.

Reference: Nivre et al. (2020), Universal Dependencies v2: an evergrowing multilingual treebank
collection; https://universaldependencies.org/format.html.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqjax._checks import check_choice
from seqjax.data._data_dir import find_data
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, list_files, read_text

CONLLU_COLUMNS = {"upos": 3, "xpos": 4, "deprel": 7}
"""Columns that can be tagged with, by name: universal tag, the language's own, relation."""

PARTUT_SOURCE = "https://github.com/UniversalDependencies/UD_English-ParTUT"
_FIELDS = 10
_WORD_ID = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_OTHER_ID = re.compile(r"[1-9][0-9]*-[1-9][0-9]*|[0-9]+\.[1-9][0-9]*", re.ASCII)


class TaggedSentence(NamedTuple):
    """A sentence and a tag for each of its words.

    Attributes:
      words: as they are written.
      tags: as many.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]


class TaggedSplits(NamedTuple):
    """Tagged sentences to train on, to choose by and to judge by.

    Attributes:
      name: what results call them.
      train: sentences to train on.
      validation: those that choose.
      test: those that judge.
    """

    name: str
    train: list[TaggedSentence]
    validation: list[TaggedSentence]
    test: list[TaggedSentence]

    @property
    def sha256(self) -> str:
        """Hash of every word and tag."""
        digest = hashlib.sha256()
        for part in self[1:]:
            for sentence in part:
                for fields in sentence:
                    digest.update("\t".join(fields).encode() + b"\n")
            digest.update(b"\n")
        return digest.hexdigest()


def read_conllu(path: AnyPath, *, column: str = "upos") -> list[TaggedSentence]:
    """Reads the tagged sentences of a file.

    Args:
      path: a UTF-8 file in CoNLL-U.
      column: the field that holds the tag: upos (the universal part of speech), xpos (the
        treebank's own) or deprel (the dependency relation).

    Returns:
      The sentences that have words, in the order of the file, each with its `words` and their
      `tags`.

    Raises:
      DataError: if the file cannot be read, holds no sentence, or a line is malformed: other than
        ten fields, words that are not numbered 1, 2, ..., or a word without form or tag.
      ValueError: if `column` is not one of these.

    Example:
      >>> import pathlib, tempfile
      >>> file = pathlib.Path(tempfile.mkdtemp()) / "tiny.conllu"
      >>> line = "1 Stop stop VERB V _ 0 root _ _".replace(" ", chr(9))
      >>> _ = file.write_text("# text = Stop" + chr(10) + line + chr(10) * 2)
      >>> read_conllu(file)
      [TaggedSentence(words=('Stop',), tags=('VERB',))]
    """
    check_choice("read_conllu", "column", column, CONLLU_COLUMNS)
    words, tags, sentences = [], [], []
    for number, line in enumerate(_lines(Path(path)), start=1):
        if line and not line.startswith("#"):
            word = _word(line, f"conllu: {path}:{number}", len(words) + 1, column)
            if word is not None:
                words.append(word[0])
                tags.append(word[1])
        elif not line and words:
            sentences.append(TaggedSentence(tuple(words), tuple(tags)))
            words, tags = [], []
    if not sentences:
        raise DataError(f"conllu: {path} must hold at least one sentence, got none.")
    return sentences


def load_conllu(folder: AnyPath, *, column: str = "upos") -> TaggedSplits:
    """Loads a folder with one file each that ends in train.conllu, dev.conllu and test.conllu.

    Args:
      folder: the folder, as a treebank is published, or of your own files.
      column: the field that holds the tag; see `read_conllu`.

    Returns:
      The sentences of the three files.

    Raises:
      DataError: if there is no such folder, it lacks one of the files or holds two of a kind, or a
        file is malformed.

    Example:
      >>> load_conllu("my_treebank").train[0].tags  # doctest: +SKIP
      ('DET', 'NOUN', 'VERB', 'PUNCT')
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataError(f"conllu: {str(folder)!r} must be an existing folder.")
    parts, files = [], list_files(root, [".conllu"])
    for ending in ("train.conllu", "dev.conllu", "test.conllu"):
        found = [path for path in files if path.name.endswith(ending)]
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise DataError(
                f"conllu: {root} must hold one file that ends in {ending}, got {names}."
            )
        parts.append(read_conllu(found[0], column=column))
    return TaggedSplits(f"conllu {root.resolve().name}", *parts)


def load_ud_partut(data_dir: AnyPath | None = None, *, column: str = "upos") -> TaggedSplits:
    """Loads UD English-ParTUT in its published split: 1,781, 156 and 153 sentences.

    Args:
      data_dir: folder with `ud_partut/en_partut-ud-train.conllu` and so on, or with
        `UD_English-ParTUT` as it is published, or either folder itself; `SEQJAX_DATA_DIR` by
        default.
      column: the field that holds the tag; see `read_conllu`.

    Returns:
      The sentences in `train`, `validation` and `test`, as `read_conllu` gives them.

    Raises:
      DataError: if the data is missing or damaged.

    Example:
      >>> len(load_ud_partut("data").test)  # doctest: +SKIP
      153

    Reference: Sanguinetti and Bosco (2015), PartTUT: the Turin University parallel treebank.
    """
    names = [f"{folder}/*train.conllu" for folder in ("ud_partut", "UD_English-ParTUT")]
    folder = find_data("partut", names, data_dir, PARTUT_SOURCE).parent
    return load_conllu(folder, column=column)._replace(name="partut")


def _lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file, and an empty one after the last, which may lack its own."""
    # Only at line feeds: a word may hold any other sign that str.splitlines would divide at.
    yield from read_text(path).split("\n")
    yield ""


def _word(line: str, where: str, expected: int, column: str) -> tuple[str, str] | None:
    """Returns the form and tag of a line, or None where it is no word of its own."""
    fields = line.split("\t")
    if len(fields) != _FIELDS:
        raise DataError(
            f"{where} must have {_FIELDS} fields separated by tabs, got {len(fields)}: "
            f"{line[:60]!r}."
        )
    if _OTHER_ID.fullmatch(fields[0]):
        return None
    if not _WORD_ID.fullmatch(fields[0]) or int(fields[0]) != expected:
        raise DataError(
            f"{where} must begin with {expected}, the number of the word in its sentence, got "
            f"{fields[0][:20]!r}. Sentences are divided by an empty line."
        )
    form, tag = fields[1], fields[CONLLU_COLUMNS[column]]
    if not form.strip():
        raise DataError(f"{where} must have a word in its second field, got {form[:20]!r}.")
    if not tag.strip() or tag == "_":
        raise DataError(
            f"{where} must have a tag in the field {column}, got {tag[:20]!r} for {form[:40]!r}."
        )
    return form, tag
