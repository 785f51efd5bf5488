"""Inside `jax.shard_map` and under explicit meshes: every executor, forward and backward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import IN, KINDS, STEPS, as_parameters, on_executors, random_params
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import seqjax

BATCH = 4
LENGTHS = jnp.array([STEPS, 3, 0, 1])
# Without lengths there is less to split, so two cells stand for all; with lengths each executor.
CASES = pytest.mark.parametrize(
    ("row", "lengths"),
    [
        *as_parameters(
            on_executors(KINDS),
            None,
            name="whole",
            usual=("lstm_learned", "min_gru-associative"),
        ),
        *as_parameters(
            on_executors(KINDS),
            LENGTHS,
            name="lengths",
            usual=(
                "lstm_learned",
                "lstm_learned-newton",
                "min_gru",
                "mlstm-associative",
                "plain-scan",
            ),
        ),
    ],
)


def mesh_of(kind):
    if jax.device_count() < 2:
        pytest.skip("needs two devices; tests/conftest.py asks for them on a CPU")
    return jax.make_mesh((2,), ("batch",), axis_types=(kind,))


def example(row):
    params = random_params(row.cell, dtype=jnp.float32)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(STEPS, BATCH, IN)), jnp.float32)
    return params, xs


def results_of(row):
    """Returns `(ys, final state, gradients of parameters and inputs)` of a run."""

    def results(params, xs, lengths):
        def total(params, xs):
            ys, final = seqjax.unroll(row.cell, params, xs, lengths=lengths, executor=row.executor)
            return (ys**2).sum(), (ys, final)

        gradients, values = jax.grad(total, (0, 1), has_aux=True)(params, xs)
        return *values, gradients

    return results


@functools.cache
def alone(row, has_lengths):
    """The results on one device, once for both tests."""
    params, xs = example(row)
    return jax.device_get(jax.jit(results_of(row))(params, xs, LENGTHS if has_lengths else None))


def same(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@CASES
def test_inside_shard_map(row, lengths):
    mesh = mesh_of(AxisType.Auto)
    params, xs = example(row)
    split, at_end = P(None, "batch"), P("batch")
    mapped = jax.shard_map(
        results_of(row),
        mesh=mesh,
        in_specs=(P(), split, at_end),
        out_specs=(split, at_end, (P(), split)),
    )
    same(jax.jit(mapped)(params, xs, lengths), alone(row, lengths is not None))


@CASES
def test_under_an_explicit_mesh(row, lengths):
    mesh = mesh_of(AxisType.Explicit)
    params, xs = example(row)
    expected = alone(row, lengths is not None)
    with jax.set_mesh(mesh):
        given = (
            jax.device_put(params, P()),
            jax.device_put(xs, P(None, "batch")),
            None if lengths is None else jax.device_put(lengths, P("batch")),
        )
        got = jax.jit(results_of(row))(*given)
    same(got, expected)
    assert jax.typeof(got[0]).sharding.spec == P(None, "batch", None)


def test_a_layer_under_an_explicit_mesh():
    from flax import nnx

    mesh = mesh_of(AxisType.Explicit)
    layer = seqjax.nn.Bidirectional(seqjax.lstm(4), IN, rngs=nnx.Rngs(0))
    xs = jax.random.normal(jax.random.key(0), (BATCH, STEPS, IN))
    expected = layer(xs)
    with jax.set_mesh(mesh):
        same(nnx.jit(lambda layer, xs: layer(xs))(layer, jax.device_put(xs, P("batch"))), expected)
