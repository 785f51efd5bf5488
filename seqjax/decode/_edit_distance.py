"""How far one sequence of symbols is from another."""

from collections.abc import Hashable, Sequence


def edit_distance(found: Sequence[Hashable], truth: Sequence[Hashable]) -> int:
    """Returns the fewest insertions, deletions and substitutions that turn one into the other.

        d(i, j) = min(d(i-1, j) + 1, d(i, j-1) + 1, d(i-1, j-1) + [found_i != truth_j])

    Args:
      found: symbols.
      truth: symbols.

    Returns:
      Their number.

    Example:
      >>> edit_distance("kitten", "sitting")
      3

    Reference: Levenshtein (1966), Binary codes capable of correcting deletions, insertions, and
    reversals.
    """
    row = list(range(len(truth) + 1))
    for i, symbol in enumerate(found, 1):
        above, row = row, [i]
        for j, wanted in enumerate(truth, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (symbol != wanted)))
    return row[-1]
