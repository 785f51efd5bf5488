import functools

from hypothesis import given
from hypothesis import strategies as st

from seqjax.decode import edit_distance

WORDS = st.lists(st.integers(0, 2), max_size=6)


def by_definition(a, b):
    @functools.cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    return distance(len(a), len(b))


@given(WORDS, WORDS)
def test_definition(a, b):
    assert edit_distance(a, b) == by_definition(a, b)


@given(WORDS, WORDS, WORDS)
def test_it_is_a_distance(a, b, c):
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
