import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.imdb.ragged import Ragged


@given(st.lists(st.lists(st.integers(0, 99))))
def test_reads_like_the_list_it_was_made_from(sequences):
    ragged = Ragged.from_arrays([np.array(sequence, np.int32) for sequence in sequences])
    assert [sequence.tolist() for sequence in ragged] == sequences
    assert [sequence.tolist() for sequence in ragged[1:][::-1]] == sequences[1:][::-1]
    assert ragged.lengths.tolist() == [len(sequence) for sequence in sequences]
    if sequences:
        assert ragged[-1].tolist() == sequences[-1]
        assert ragged.take(np.array([0]))[0].tolist() == sequences[0]
    with pytest.raises(IndexError):
        ragged[len(sequences)]


@pytest.mark.parametrize("offsets", [[], [0, 1], [0, 3, 2], [1, 2], [[0, 2]]])
def test_offsets_are_checked(offsets):
    with pytest.raises(ValueError, match="`offsets` must rise from 0 to the number of tokens, 2"):
        Ragged(np.zeros(2, np.int32), np.array(offsets, np.int64))
