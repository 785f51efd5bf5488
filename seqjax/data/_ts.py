"""The `.ts` files of the UEA and UCR archives: sequences of numbers, each with its class."""

import hashlib
import os
from typing import NamedTuple, NoReturn

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._text_file import read_text

_LARGEST = 1e37  # differences and sums of such numbers are finite in float32 too


class TsSequences(NamedTuple):
    """The sequences of a `.ts` file, in its order.

    Attributes:
      name: what the file calls the problem.
      sequences: shape (T, D), float64, of each; NaN where a number is missing.
      labels: the class of each; empty if the file has none.
      classes: the classes that the header names, in its order.
    """

    name: str
    sequences: list[np.ndarray]
    labels: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of numbers and classes."""
        digest = hashlib.sha256(repr((self.labels, self.classes)).encode())
        for steps in self.sequences:
            digest.update(repr(steps.shape).encode())
            digest.update(np.ascontiguousarray(steps, "<f8").tobytes())
        return digest.hexdigest()


def read_ts(path: str | os.PathLike[str]) -> TsSequences:
    """Reads a `.ts` file: a header of `@` lines, `@data`, and then a sequence in each line.

    In a line, `:` separates the channels and the class, and `,` the steps of a channel. `?` is a
    missing number. Files with time stamps or with numbers in place of classes are refused.

    Args:
      path: a UTF-8 file.

    Returns:
      Its sequences, whose lengths may differ.

    Raises:
      DataError: if the file cannot be read or is malformed. The message names the line.

    Example:
      >>> import pathlib, tempfile
      >>> file = pathlib.Path(tempfile.mkdtemp()) / "tiny.ts"
      >>> header = "@problemName tiny;@classLabel true left right;@data;"
      >>> _ = file.write_text((header + "1,2,3:4,5,6:left;7,8:9,?:right").replace(";", chr(10)))
      >>> found = read_ts(file)
      >>> [steps.shape for steps in found.sequences], found.labels
      ([(3, 2), (2, 2)], ('left', 'right'))

    Reference: Bagnall et al. (2018), The UEA multivariate time series classification archive.
    """
    header: dict[str, list[str]] = {}
    sequences, labels, channels = [], [], 0
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where, line = f"ts: {path}:{number}", line.strip()
        if not line or line.startswith("#"):
            continue
        if "data" not in header:
            if not line.startswith("@"):
                _fail(where, "must be a line of the header, such as @data", repr(line[:40]))
            name, *values = line[1:].split() or [""]
            header[name.lower()] = values
            if name.lower() == "data":
                _check_header(where, header)
            continue
        parts = line.split(":")
        if _flag(header, "classlabel"):
            labels.append(_label(where, parts, header["classlabel"][1:]))
        channels = channels or len(parts)
        if len(parts) != channels:
            _fail(where, f"must have {channels} channels, as the first sequence", str(len(parts)))
        rows = [_numbers(where, place, part) for place, part in enumerate(parts, start=1)]
        lengths = [len(row) for row in rows]
        if min(lengths) != max(lengths):
            _fail(where, "must have channels of one length", f"{min(lengths)} to {max(lengths)}")
        sequences.append(np.stack(rows, axis=1))
    if not sequences:
        _fail(f"ts: {path}", "must hold @data and a sequence after it", "none")
    name = " ".join(header.get("problemname", [])) or "unnamed"
    return TsSequences(name, sequences, tuple(labels), tuple(header.get("classlabel", [""])[1:]))


def _check_header(where: str, header: dict[str, list[str]]) -> None:
    if _flag(header, "timestamps"):
        _fail(where, "must come after @timeStamps false", "a file with time stamps")
    if "targetlabel" in header and _flag(header, "targetlabel"):
        _fail(where, "must come after @classLabel", "@targetLabel, numbers in place of classes")
    if _flag(header, "classlabel") and not header["classlabel"][1:]:
        _fail(where, "must come after @classLabel true and the classes", "no classes")


def _flag(header: dict[str, list[str]], name: str) -> bool:
    return header.get(name, ["false"])[:1] == ["true"]


def _label(where: str, parts: list[str], classes: list[str]) -> str:
    label = parts.pop().strip()
    if not parts:
        _fail(where, "must have numbers and, after a colon, a class", repr(label[:40]))
    if label not in classes:
        known = ", ".join(classes[:10]) + (" ..." if len(classes) > 10 else "")
        _fail(where, f"must end with a class of @classLabel ({known})", repr(label[:40]))
    return label


def _numbers(where: str, place: int, part: str) -> np.ndarray:
    words = [word.strip() for word in part.split(",")]
    try:
        row = np.array([np.nan if word == "?" else float(word) for word in words])
    except ValueError:
        row = np.full(len(words), np.inf)
        for step, word in enumerate(words):
            try:
                row[step] = np.nan if word == "?" else float(word)
            except ValueError:
                break
    wrong = (np.abs(row) > _LARGEST) | (np.isnan(row) & np.array([word != "?" for word in words]))
    if wrong.any():
        step = int(wrong.argmax())
        _fail(
            where,
            f"must have numbers below {_LARGEST:g}, or ? where one is missing",
            f"{words[step][:40]!r} in channel {place}, step {step + 1}",
        )
    return row


def _fail(where: str, required: str, got: str) -> NoReturn:
    raise DataError(f"{where} {required}, got {got}.")
