"""The backward pass of gated cells, our own, against the plain scan that JAX differentiates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BATCH,
    BY_NAME,
    ROWS,
    as_parameters,
    assert_trees_close,
    problem,
    random_params,
    random_state,
    unroll_with,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import with_usual
from test_unroll_properties import problems

import seqjax
from seqjax.cells import GatedCell

pytestmark = pytest.mark.usefixtures("x64")

GATED = [row for row in ROWS if isinstance(row.cell, GatedCell) and not row.known_step]


def total(row, params, xs, start, data, *, all_states=True, **options):
    """A loss that weighs every result: outputs, final state and, if asked for, every state."""
    ys, final, *states = unroll_with(
        row.cell,
        params,
        xs,
        initial_state=start,
        lengths=data.lengths,
        mask=data.mask,
        resets=data.resets,
        return_states=all_states,
        **options,
    )
    weighed = jax.tree.leaves((ys, final, states))
    return sum(jnp.sin((k + 1) * leaf).sum() for k, leaf in enumerate(weighed))


def gradients(row, params, data, start, **options):
    arrays = type(data)(*(jnp.asarray(array) for array in data))
    return jax.device_get(_gradients(row, params, arrays, start, tuple(sorted(options.items()))))


@functools.partial(jax.jit, static_argnums=(0, 4))
def _gradients(row, params, data, start, options):
    def of(params, xs, start):
        return total(row, params, xs, start, data, **dict(options))

    return jax.value_and_grad(of, (0, 1, 2))(params, data.xs, start)


CHUNKS = {"residuals": "states", "chunk_size": 3}
REVERSE = {"residuals": "gates", "chunk_size": 2, "reverse": True}
ONE_CHUNK = {"residuals": "states", "chunk_size": 100, "reverse": True, "all_states": False}


@pytest.mark.parametrize(
    ("row", "options"),
    [
        *as_parameters(
            GATED,
            CHUNKS,
            name="states",
            usual=("lstm_learned", "layer_norm_gru", "user"),
        ),
        *as_parameters(GATED, REVERSE, name="gates_reverse", usual=("user",)),
        pytest.param(BY_NAME["user"], ONE_CHUNK, id="user-states_reverse_one_chunk"),
    ],
)
def test_equals_the_plain_scan(row, options):
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    got = gradients(row, params, data, start, **options)
    plain = {"executor": "scan"} | {k: v for k, v in options.items() if k != "residuals"}
    assert_trees_close(got, gradients(row, params, data, start, **plain))


@settings(max_examples=40)
@given(data=problems(shapes=[(4, (2, 1))]), reverse=st.booleans())
def test_any_lengths_masks_and_resets(data, reverse):
    row = BY_NAME["user"]
    with jax.enable_x64(True):
        params = random_params(row.cell)
        start = random_state(row.cell, params, data.lengths.shape)
        options = {"reverse": reverse, "chunk_size": 3}
        got = gradients(row, params, data, start, residuals="states", **options)
        assert_trees_close(got, gradients(row, params, data, start, executor="scan", **options))


@pytest.mark.parametrize("batch", [pytest.param((), marks=pytest.mark.extended), (2, 3)], ids=str)
def test_any_batch_rank(batch):
    row = BY_NAME["gru"]
    params, data = random_params(row.cell), problem(batch=batch)
    start = random_state(row.cell, params, batch)
    got = gradients(row, params, data, start, residuals="states", chunk_size=3)
    assert_trees_close(got, gradients(row, params, data, start, executor="scan", chunk_size=3))


SECOND = {
    "forward_over_reverse": lambda f, x, v: jax.jvp(jax.grad(f), (x,), (v,))[1],
    "reverse_over_reverse": lambda f, x, v: jax.grad(lambda x: dot(jax.grad(f)(x), v))(x),
    "reverse_over_forward": lambda f, x, v: jax.grad(lambda x: jax.jvp(f, (x,), (v,))[1])(x),
    "forward_over_forward": lambda f, x, v: jax.jvp(
        lambda x: jax.jvp(f, (x,), (v,))[1], (x,), (v,)
    )[1],
}


def dot(a, b):
    return sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize(
    "order",
    with_usual(SECOND, ["reverse_over_reverse"]),
)
def test_second_derivatives(order):
    row, data = BY_NAME["user"], problem()
    params, direction = random_params(row.cell), random_params(row.cell, seed=1)
    start = random_state(row.cell, params)

    @functools.partial(jax.jit, static_argnums=0)
    def second(options):
        def of(params):
            return total(row, params, data.xs, start, data, chunk_size=3, **dict(options))

        return SECOND[order](of, params, direction)

    assert_trees_close(second((("residuals", "gates"),)), second((("executor", "scan"),)), 1e-9)


@pytest.mark.parametrize("name", ["lstm", "gru_reset_before"])
def test_vmap_of_examples_shares_the_weights_gradient(name):
    """A program written for one sequence: the map over examples, then the gradient."""
    row = BY_NAME[name]
    params, xs = random_params(row.cell), problem().xs

    def one(params, x):
        return jnp.sin(unroll_with(row.cell, params, x)[0]).sum()

    def mapped(params, xs):
        return jax.vmap(one, in_axes=(None, 1))(params, xs).sum()

    got = jax.jit(jax.grad(mapped, (0, 1)))(params, xs)
    assert_trees_close(got, jax.jit(jax.grad(one, (0, 1)))(params, xs))
    # No gradient of the weights for each example apart.
    size = params.recurrent_kernel.shape
    text = jax.jit(jax.grad(mapped)).lower(params, xs).as_text()
    assert f"{size[0]}x{size[1]}xf64" in text
    assert f"{BATCH}x{size[0]}x{size[1]}xf64" not in text


@pytest.mark.parametrize(
    "shared",
    ["nothing", *(pytest.param(each, marks=pytest.mark.extended) for each in ("xs", "params"))],
)
def test_vmap_of_gradients(shared):
    """Seeds side by side, examples side by side, or both."""
    row = BY_NAME["gru"]
    many = [random_params(row.cell, seed=seed) for seed in range(3)]
    xs = np.stack([problem(seed=seed).xs for seed in range(3)])

    def gradient(params, xs):
        def of(params, xs):
            return jnp.sin(unroll_with(row.cell, params, xs, chunk_size=3)[0]).sum()

        return jax.grad(of, (0, 1))(params, xs)

    axes = (None if shared == "params" else 0, None if shared == "xs" else 0)
    stacked = many[0] if shared == "params" else jax.tree.map(lambda *leaf: jnp.stack(leaf), *many)
    got = jax.jit(jax.vmap(gradient, axes))(stacked, xs[0] if shared == "xs" else xs)
    one = jax.jit(gradient)
    for k in range(3):
        expected = one(many[0] if axes[0] is None else many[k], xs[0] if axes[1] is None else xs[k])
        assert_trees_close(jax.tree.map(lambda leaf, k=k: leaf[k], got), expected)


def test_inside_another_scan():
    """As in truncated back-propagation: segments with the state carried on."""
    row = BY_NAME["gru"]
    params, xs = random_params(row.cell), problem(plain=True).xs[:6]

    @functools.partial(jax.jit, static_argnums=1)
    def of(params, executor):
        def total(params):
            def segment(state, xs):
                ys, state = unroll_with(
                    row.cell, params, xs, initial_state=state, executor=executor
                )
                return state, ys

            start = row.cell.initial_state(params, (BATCH,), jnp.float64)
            return jnp.sin(jax.lax.scan(segment, start, xs.reshape(3, 2, *xs.shape[1:]))[1]).sum()

        return jax.grad(total)(params)

    assert_trees_close(of(params, "auto"), of(params, "scan"))


@pytest.mark.parametrize(
    "name", [pytest.param("lstm", marks=pytest.mark.extended), "gru_reset_before"]
)
def test_low_precision(name):
    """Products in bfloat16, sums in float32: as close to float64 as the plain scan, or closer."""
    row = BY_NAME[name]
    params, data = random_params(row.cell, dtype=jnp.float32), problem(plain=True)

    def gradient(executor, dtype):
        def of(params, xs):
            ys, _ = unroll_with(row.cell, params, xs, executor=executor, dtype=dtype)
            return jnp.sin(ys.astype(jnp.float64)).sum()

        return jax.jit(jax.grad(of))(params, data.xs)

    def error(executor):
        exact = gradient("scan", jnp.float64).recurrent_kernel
        return (
            np.abs(gradient(executor, jnp.bfloat16).recurrent_kernel - exact).max()
            / np.abs(exact).max()
        )

    assert error("auto") < max(2 * error("scan"), 0.02)


def test_what_is_kept_for_the_backward_pass():
    """Per step, example and unit: the state's fields, and with "gates" what the gates see."""
    steps, batch, hidden = 64, 8, 128
    xs = jax.ShapeDtypeStruct((steps, batch, 4), jnp.float32)
    before = seqjax.gru(hidden, reset_after=False)
    for cell, fields, gates in (
        (seqjax.lstm(hidden), 2, 4),
        (seqjax.gru(hidden), 1, 4),
        (before, 1, 3),
    ):
        params = jax.eval_shape(lambda key, cell=cell: cell.init(key, 4), jax.random.key(0))
        for residuals, expected in (("states", fields), ("gates", fields + gates)):

            def pulled(params, xs, cell=cell, residuals=residuals):
                return jax.vjp(
                    lambda params, xs: unroll_with(cell, params, xs, residuals=residuals)[0],
                    params,
                    xs,
                )[1]

            kept = jax.tree.leaves(jax.eval_shape(jax.jit(pulled), params, xs))
            per_unit = sum(leaf.size for leaf in kept) - params_and_inputs(params, xs)
            assert per_unit / (steps * batch * hidden) < expected + 0.2


def params_and_inputs(params, xs):
    return xs.size + sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("residuals", ["gates", "states", "boundaries"])
def test_the_bias_stays_in_the_loop_over_time(residuals):
    # Spread over a chunk and taken out of it, as JAX would, it costs a fifth of an LSTM's step.
    cell = seqjax.lstm(5)
    params = cell.init(jax.random.key(0), 3)

    def loss(params):
        return unroll_with(cell, params, jnp.ones((40, 4, 3)), residuals=residuals)[0].sum()

    outside = [
        equation
        for equation in jax.make_jaxpr(jax.grad(loss))(params).eqns
        if any(variable.aval.shape == params.bias.shape for variable in equation.invars)
    ]
    assert all(equation.primitive.name != "broadcast_in_dim" for equation in outside)
