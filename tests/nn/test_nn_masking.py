import jax
import jax.numpy as jnp
import numpy as np

from seqjax.nn import mask_features, mask_steps


def runs(hidden):
    return int((np.diff(np.concatenate([[0], hidden.astype(int), [0]])) == 1).sum())


def test_stretches_of_time():
    lengths = jnp.array([40] * 200 + [8, 3, 0])
    masked = mask_steps(jax.random.key(0), jnp.ones((203, 40, 2)), lengths, num=2, size=6)
    hidden = np.asarray(masked == 0)
    assert (hidden[..., 0] == hidden[..., 1]).all()
    hidden = hidden[..., 0]
    widths = hidden.sum(1)
    assert set(widths[:200].tolist()) == set(range(13))  # two of 0 to 6 steps, or overlapping
    assert max(runs(row) for row in hidden) == 2
    assert hidden[:200].any(0).all()  # any place may be hidden
    assert widths[200] <= 4  # two of at most a quarter
    assert not hidden[200, 8:].any()
    assert not hidden[201:].any()


def test_ranges_of_features():
    masked = mask_features(jax.random.key(0), jnp.ones((200, 3, 10)), num=1, size=4)
    hidden = np.asarray(masked == 0)
    assert (hidden == hidden[:, :1]).all()
    assert set(hidden[:, 0].sum(1).tolist()) == set(range(5))
    assert max(runs(row) for row in hidden[:, 0]) == 1
    assert hidden[:, 0].any(0).all()
    assert mask_features(jax.random.key(0), jnp.ones((1, 2, 3)), num=1, size=99).shape == (1, 2, 3)


def test_the_key_decides():
    xs, lengths = jnp.ones((4, 30, 2)), jnp.full(4, 30)

    def masked(seed):
        return mask_steps(jax.random.key(seed), xs, lengths, num=2, size=7)

    np.testing.assert_array_equal(masked(1), masked(1))
    assert (masked(1) != masked(2)).any()
