"""Splice junctions: where in DNA an exon ends or begins.

Reference: Noordewier, Towell and Shavlik (1991), Training knowledge-based neural networks to
recognize genes in DNA sequences; UCI Machine Learning Repository (the data).
"""

import csv
from typing import NamedTuple

import numpy as np

from seqjax.data._data_dir import find_data
from seqjax.data._dna import encode_dna
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, read_text

SOURCE = "https://archive.ics.uci.edu/dataset/69"
SPLICE_CLASSES = ("EI", "IE", "N")
"""Exon to intron (donor), intron to exon (acceptor), neither."""

_LENGTH = 60


class Splice(NamedTuple):
    """DNA around places that may be junctions.

    Attributes:
      sequences: 60 letters each, the place in question between the 30th and the 31st.
      labels: index in `SPLICE_CLASSES`, int32.
    """

    sequences: list[str]
    labels: np.ndarray


def load_splice(data_dir: AnyPath | None = None) -> Splice:
    """Loads the 3,190 examples; copies of a sequence, 185 of them, are left in.

    Args:
      data_dir: folder with `splice/splice.csv`, or with the file itself; `SEQJAX_DATA_DIR` by
        default.

    Returns:
      The examples, in the order of the file: `sequences`, 60 letters each, the place in question
      between the 30th and the 31st, and `labels`, int32: 0 where an exon ends (EI), 1 where one
      begins (IE), 2 for neither.

    Raises:
      DataError: if the file is missing or damaged.

    Example:
      >>> len(load_splice("data").sequences)  # doctest: +SKIP
      3190
    """
    path = find_data("splice", ["splice/splice.csv"], data_dir, SOURCE)
    try:
        rows = list(csv.reader(read_text(path).splitlines()))
    except csv.Error as error:
        raise DataError(f"splice: {path} cannot be read: {error}. Copy it again.") from None
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if header != ["class", "donor", "sequence"] or len(rows) < 2:
        raise DataError(
            f"splice: {path} must have the header Class,Donor,Sequence and rows below it, got "
            f"{rows[0] if rows else 'nothing'}. Copy it again from {SOURCE}."
        )
    sequences, labels = [], []
    for number, row in enumerate(rows[1:], 2):
        cells = [cell.strip() for cell in row]
        where = f"splice: {path}, row {number}"
        if len(cells) != 3 or cells[0] not in SPLICE_CLASSES:
            raise DataError(f"{where}: a class EI, IE or N, a name and letters are required.")
        if len(cells[2]) != _LENGTH:
            raise DataError(f"{where}: {_LENGTH} letters are required, got {len(cells[2])}.")
        encode_dna(cells[2], where)
        sequences.append(cells[2])
        labels.append(SPLICE_CLASSES.index(cells[0]))
    return Splice(sequences, np.array(labels, np.int32))
