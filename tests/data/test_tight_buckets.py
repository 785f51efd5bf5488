import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqjax.data import tight_bucket_lengths


def padded(lengths, bounds):
    return sum(min(b for b in bounds if b >= length) for length in lengths)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=20), st.integers(1, 5))
def test_no_other_bounds_pad_less(lengths, number):
    found = tight_bucket_lengths(lengths, number)
    assert found == sorted(set(found))
    assert len(found) <= number
    assert found[-1] == max(lengths)
    others = np.unique(lengths)[:-1].tolist()
    sizes = range(min(number - 1, len(others)) + 1)
    every = [c for size in sizes for c in itertools.combinations(others, size)]
    assert padded(lengths, found) == min(padded(lengths, [*c, max(lengths)]) for c in every)


def test_empty_sequences_have_a_bucket():
    assert tight_bucket_lengths([0, 0], 2) == [1]
    with pytest.raises(ValueError, match="there must be at least one length"):
        tight_bucket_lengths([], 2)
