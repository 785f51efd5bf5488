"""DNA as numbers."""

import numpy as np

from seqjax.data._errors import DataError

# What each letter may stand for (IUPAC).
_MEANINGS = {
    "A": "A", "C": "C", "G": "G", "T": "T", "U": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT",
    "K": "GT", "M": "AC", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
BASES = "ACGT"
_TABLE = {
    letter: np.array([base in meaning for base in BASES], np.float32) / len(meaning)
    for letter, meaning in _MEANINGS.items()
}


def encode_dna(letters: str, where: str = "dna") -> np.ndarray:
    """Returns DNA as probabilities of A, C, G and T; of N, for one, a quarter each.

    Args:
      letters: IUPAC codes, upper or lower case.
      where: begins the message of an error.

    Returns:
      Shape (letters, 4), float32.

    Raises:
      DataError: if a letter is no IUPAC code, or there is none.

    Example:
      >>> encode_dna("Ar").tolist()
      [[1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]]

    Reference: Cornish-Bowden (1985), Nomenclature for incompletely specified bases in nucleic acid
    sequences.
    """
    for place, letter in enumerate(letters.upper(), 1):
        if letter not in _TABLE:
            raise DataError(
                f"{where}: letter {place} must be a base or one of {''.join(_MEANINGS)}, got "
                f"{letter!r}."
            )
    if not letters:
        raise DataError(f"{where}: at least one letter is required, got none.")
    return np.stack([_TABLE[letter] for letter in letters.upper()])
