"""Newton's method with time split over devices: the numbers of one device, and small exchanges."""

import dataclasses
import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import BY_NAME, assert_trees_close, problem, random_params, random_state
from cell_table import values_and_gradients as of_table
from marks import with_usual

import seqjax
from seqjax.executors import Newton, Sequential

pytestmark = pytest.mark.skipif(
    jax.device_count() < 2, reason="needs two devices; tests/conftest.py asks for them on a CPU"
)


def time_mesh(kind="Auto"):
    return jax.make_mesh((2,), ("time",), axis_types=(getattr(jax.sharding.AxisType, kind),))


# A direction is the same for every cell, so these take one each and stand for the others.
USUAL = {("gru", False), ("para_gru", True), ("plain", False)}
CELLS = ("gru", "para_gru", "plain", "slstm", "para_lstm", "lstm_learned", "user")


@pytest.mark.parametrize(
    ("name", "reverse"),
    with_usual(itertools.product(CELLS, (False, True)), USUAL),
)
def test_values_and_gradients_are_those_of_one_device(name, reverse, x64):
    """A dense, a diagonal and a plain Jacobian; 7 steps are no even number."""
    row = BY_NAME[name]
    params = random_params(row.cell)
    start, given = random_state(row.cell, params), problem()
    expected = of_table(row, params, given, start, reverse=reverse)
    split = dataclasses.replace(row, executor="newton")
    with jax.set_mesh(time_mesh()):
        got = of_table(split, params, given, start, reverse=reverse)
    assert_trees_close(got, expected, 1e-10, 1e-10)


def total(cell, executor, params, xs, **options):
    ys, final = seqjax.unroll(cell, params, xs, executor=executor, **options)
    return jnp.sin(ys).mean() + final[0].mean(), (ys, final)


@functools.cache
def gradient(cell, executor):
    function = jax.value_and_grad(total, argnums=(2, 3), has_aux=True)
    return jax.jit(functools.partial(function, cell, executor))


@pytest.fixture(scope="module")
def small():
    """A cell, its parameters and a batch in float32."""
    cell, rng = seqjax.gru(4), np.random.default_rng(0)
    xs = jnp.asarray(rng.normal(size=(64, 3, 2)), jnp.float32)
    return cell, cell.init(jax.random.key(0), 2), xs


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_one_sequence_and_an_inexact_jacobian(small, kind):
    """The iteration uses a diagonal; the backward pass the whole Jacobian."""
    cell, params, xs = small
    newton = Newton(jacobian="diagonal", max_iterations=60)
    expected = gradient(cell, Sequential())(params, xs[:, 0])
    with jax.set_mesh(time_mesh(kind)):
        found = jax.device_put((params, xs[:, 0]), jax.sharding.PartitionSpec())
        got = gradient(cell, newton)(*found)
    assert_trees_close(got, expected, 1e-4, 1e-5)


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.extended)])
def test_a_sequence_that_falls_back_does_so_on_every_device(reverse):
    """The others keep what they have; the report counts all parts."""
    cell, rng, reports = seqjax.elman(16), np.random.default_rng(1), []
    kernel = jnp.asarray(3.0 * rng.normal(size=(16, 16)) / 4, jnp.float32)
    params = cell.init(jax.random.key(0), 3)._replace(recurrent_kernel=kernel)
    xs = jnp.asarray(0.1 * rng.normal(size=(41, 2, 3)), jnp.float32)
    options = {"lengths": jnp.array([41, 3]), "reverse": reverse}

    @functools.partial(jax.jit, static_argnums=0)
    def run(executor, params, xs):
        return jax.value_and_grad(total, argnums=(2, 3), has_aux=True)(
            cell, executor, params, xs, **options
        )

    expected = run(Sequential(), params, xs)
    with jax.set_mesh(time_mesh()):
        got = run(Newton(report=reports.append), params, xs)
        jax.block_until_ready(got)
    jax.effects_barrier()
    assert reports[0].fallback.tolist() == [True, False]
    assert reports[0].iterations.tolist()[0] == 16
    assert_trees_close(got[0], expected[0], 1e-5, 1e-5)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected[1]))
    assert_trees_close(got[1], expected[1], 1e-3, 1e-4 * scale)


def exchanges(compiled):
    """Returns what devices exchange, and when; from XLA's text of a program."""
    found = {"iteration": [], "fallback": [], "backward": [], "once": []}
    kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    for line in compiled.as_text().splitlines():
        if match := re.search(rf" = (.*) ({kinds})(?:-start)?\(.*op_name=\"([^\"]*)", line):
            shapes, kind, place = match.groups()
            when = "iteration" if "while/body" in place else "once"
            when = "fallback" if "/cond/" in place else when
            when = "backward" if "transpose(" in place else when
            found[when].append((kind, *re.findall(r"\w+\[[\d,]*\]", shapes)))
    return {when: sorted(each) for when, each in found.items()}


@pytest.mark.parametrize("steps", [64, 63])
def test_what_devices_exchange(small, steps):
    """Blocks and corrections at the ends of the parts, a state, and the largest errors."""
    cell, params, xs = small

    @jax.grad
    def loss(params, xs):
        return (seqjax.unroll(cell, params, xs, executor="newton")[0] ** 2).mean()

    with jax.set_mesh(time_mesh()):
        found = exchanges(jax.jit(loss).lower(params, xs[:steps]).compile())
    solution = [("all-gather", "f32[2,3,1,4,1]"), ("all-gather", "f32[2,3,1,4,4]")]
    state, largest = ("collective-permute", "f32[3,4]"), ("all-reduce", "f32[3]", "f32[3]")
    # The last step fills up the last part, and is masked.
    kept = [("all-gather", "f32[2,3,4]")] if steps == 63 else []
    of_params = "all-reduce", "f32[2,12]", "f32[4,12]", "f32[12]", "f32[4]"
    mask = [("all-gather", "pred[64,3]")] if steps == 63 else []
    assert found == {
        "iteration": sorted([*solution, *kept, state, largest]),
        "once": sorted([*solution, *kept, state, largest]),
        "backward": sorted([*solution, state, of_params]),
        "fallback": sorted([("all-gather", "f32[64,3,2]"), *mask]),
    }


def test_what_cannot_be_split_is_refused_in_one_line():
    cell = seqjax.gru(80)
    params, xs = cell.init(jax.random.key(0), 3), jnp.ones((8, 3))
    with jax.set_mesh(time_mesh()), pytest.raises(ValueError, match="80 x 80") as info:
        seqjax.unroll(cell, params, xs, executor="newton")
    assert str(info.value) == (
        "seqjax.unroll: the executor Newton cannot split time over devices for gru(80): its "
        "backward pass then needs the whole Jacobian, in blocks of 80 x 80 numbers a step, and "
        "only jacobian='dense' goes beyond 64. Use Newton(jacobian='dense') if there is memory, or "
        'a mesh without the axis "time".'
    )
