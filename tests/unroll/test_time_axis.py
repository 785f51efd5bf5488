"""Linear cells with time split over devices: the numbers of one device, and small exchanges."""

import dataclasses
import functools
import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import BY_NAME, assert_trees_close, problem, random_params, random_state
from cell_table import values_and_gradients as of_table
from jax.sharding import PartitionSpec as P
from marks import with_usual

import seqjax
from seqjax.executors._associative import linear_recurrence
from seqjax.executors._time_axis import recurrence_over_devices

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from compiled_program import count_exchanges

pytestmark = pytest.mark.skipif(
    jax.device_count() < 2, reason="needs two devices; tests/conftest.py asks for them on a CPU"
)


def time_mesh(kind="Auto"):
    return jax.make_mesh((2,), ("time",), axis_types=(getattr(jax.sharding.AxisType, kind),))


# A direction is the same for every cell, so these take one each and stand for the others.
USUAL = {("min_gru", False), ("lru", True), ("rg_lru", False), ("mlstm", True)}


@pytest.mark.parametrize(
    ("name", "reverse"),
    with_usual(
        itertools.product(
            ("min_gru", "lru", "rg_lru", "gla", "mlstm", "delta_net", "qrnn"), (False, True)
        ),
        USUAL,
    ),
)
def test_values_and_gradients_are_those_of_one_device(name, reverse, x64):
    """States of all kinds, and cells that combine steps; 7 steps are no even number."""
    row = BY_NAME[name]
    params = random_params(row.cell)
    start, given = random_state(row.cell, params), problem()
    expected = of_table(row, params, given, start, reverse=reverse)
    split = dataclasses.replace(row, executor="associative")
    with jax.set_mesh(time_mesh()):
        got = of_table(split, params, given, start, reverse=reverse)
    assert_trees_close(got, expected)


def run(cell, params, xs, executor="associative", **options):
    return seqjax.unroll(cell, params, xs, executor=executor, **options)


@pytest.fixture(scope="module")
def small():
    """A cell, its parameters and a batch in float32."""
    cell = seqjax.min_gru(4)
    xs = np.random.default_rng(0).normal(size=(200, 3, 2)).astype(np.float32)
    return cell, cell.init(jax.random.key(0), 2), jnp.asarray(xs)


def test_single_precision_and_an_explicit_mesh(small):
    cell, params, xs = small
    lengths = jnp.array([200, 57, 0])
    expected, end = run(cell, params, xs, "sequential", lengths=lengths)
    for kind in ("Auto", "Explicit"):
        with jax.set_mesh(time_mesh(kind)):
            given = jax.device_put((params, xs, lengths), P())
            ys, final = run(cell, *given[:2], lengths=given[2])
        np.testing.assert_allclose(ys, expected, atol=1e-5)
        np.testing.assert_allclose(final.hidden, end.hidden, atol=1e-5)
        assert final.hidden.is_fully_replicated


def test_forward_mode(small):
    cell, params, xs = small
    moved = jax.jit(
        lambda xs, executor: jax.jvp(
            lambda xs: run(cell, params, xs, executor)[0], (xs,), (jnp.cos(xs),)
        )[1],
        static_argnums=1,
    )
    with jax.set_mesh(time_mesh()):
        got = moved(xs, "associative")
    np.testing.assert_allclose(got, moved(xs, "sequential"), atol=1e-5)


def test_a_reset_in_a_later_part_drops_an_infinite_state(small):
    cell, params, xs = small
    resets = jnp.zeros((200, 3), bool).at[150].set(True)
    start = seqjax.cells.HiddenState(jnp.full((3, 4), jnp.inf))
    expected, _ = run(cell, params, xs[150:])
    with jax.set_mesh(time_mesh()):
        ys, _ = run(cell, params, xs, initial_state=start, resets=resets)
    assert not np.isfinite(ys[:150]).any()
    np.testing.assert_allclose(ys[150:], expected, atol=1e-5)


def test_one_sequence_with_resets_has_no_batch_to_split():
    """The first axis of its state is none, even where the devices divide it."""
    resets = jnp.zeros(6, bool).at[4].set(True)
    a, b = jax.random.uniform(jax.random.key(0), (2, 6, 2, 4))
    given = jnp.where(resets[:, None, None], 0, a), b, jnp.ones((2, 4)), resets, False
    kinds = (jax.sharding.AxisType.Auto,) * 2
    with jax.set_mesh(jax.make_mesh((2, 1), ("batch", "time"), axis_types=kinds)):
        states = recurrence_over_devices(*given)
    np.testing.assert_allclose(states, linear_recurrence(*given), atol=1e-6)


def test_the_default_executor_under_the_mesh(small):
    cell = small[0]
    assert type(seqjax.executors.choose(cell)).__name__ == "Sequential"
    with jax.set_mesh(time_mesh()):
        assert type(seqjax.executors.choose(cell)).__name__ == "Associative"
        assert type(seqjax.executors.choose(seqjax.gru(4))).__name__ == "Sequential"


def test_inside_a_shard_map_over_time_devices_have_their_own_sequences(small):
    cell, params, xs = small
    split = jax.shard_map(
        lambda xs: run(cell, params, xs)[0],
        mesh=time_mesh(),
        in_specs=P("time"),
        out_specs=P("time"),
    )
    expected = jnp.concatenate([run(cell, params, half)[0] for half in (xs[:100], xs[100:])])
    np.testing.assert_allclose(jax.jit(split)(xs), expected, atol=1e-5)


@pytest.mark.parametrize("steps", [200, 199])
def test_devices_exchange_arrays_of_the_size_of_a_state(small, steps):
    """Decay and state at the ends of the parts, there and back; states never move."""
    cell, params, xs = small

    @functools.partial(jax.grad, argnums=0)
    def gradient(params, xs, lengths):
        return (run(cell, params, xs, lengths=lengths)[0] ** 2).mean()

    with jax.set_mesh(time_mesh()):
        compiled = jax.jit(gradient).lower(params, xs[:steps], jnp.array([steps, 3, 0])).compile()
    found = count_exchanges(compiled.as_text())
    state, numbers = 3 * 4 * 4, sum(leaf.size for leaf in jax.tree.leaves(params))
    counted = {kind: (*each[:2], round(each.mebibytes * 2**20)) for kind, each in found.items()}
    assert counted == {
        "all-gather": (0, 4, 4 * 2 * state),  # of two devices each
        "collective-permute": (0, 1, state),
        "all-reduce": (0, 1, 4 * numbers),  # gradients of the parameters
    }


def test_cells_that_combine_steps_exchange_one_element_a_part():
    """Two matrices and a bit, of each part; and the gradients of the matrices."""
    cell, xs = seqjax.delta_net(4), jnp.ones((200, 3, 2))
    params = cell.init(jax.random.key(0), 2)
    with jax.set_mesh(time_mesh()):
        assert type(seqjax.executors.choose(cell)).__name__ == "Associative"

        @jax.grad
        def gradient(params, xs):
            return (seqjax.unroll(cell, params, xs)[0] ** 2).mean()

        compiled = jax.jit(gradient).lower(params, xs).compile()
    found = count_exchanges(compiled.as_text())
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
    counted = {kind: (*each[:2], round(each.mebibytes * 2**20)) for kind, each in found.items()}
    element = 2 * 3 * 4 * 4 * 4
    assert counted == {
        "all-gather": (0, 3, 2 * element),  # of two devices each; bits do not count
        "reduce-scatter": (0, 2, element),
        "all-reduce": (0, 1, 4 * numbers),
    }
