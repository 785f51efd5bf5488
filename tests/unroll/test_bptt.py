"""How far and how the gradient flows back: truncation, rematerialisation, clipping per step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    KINDS,
    STEPS,
    as_parameters,
    assert_trees_close,
    assert_trees_equal,
    both_directions,
    only_inexact,
    problem,
    random_params,
    random_state,
    run,
    unroll_with,
)
from jax import lax

import seqjax
from seqjax._padding import select, valid_steps
from seqjax.cells._cell import advance

pytestmark = pytest.mark.usefixtures("x64")


def weighed(ys):
    """A loss of the outputs in which every element has another, nonlinear part."""
    return jnp.sin(ys * (1 + jnp.arange(ys.size).reshape(ys.shape))).sum()


def gradients(row, params, data, start, **options):
    @jax.jit
    def of(params, xs, start):
        def total(params, xs, start):
            ys, final = unroll_with(
                row.cell,
                params,
                xs,
                initial_state=start,
                lengths=data.lengths,
                mask=data.mask,
                resets=data.resets,
                **options,
            )
            return weighed(ys), (ys, final)

        gradient = jax.grad(total, (0, 1, 2), has_aux=True, allow_int=True)
        found, aux = gradient(params, xs, start)
        return only_inexact(found), aux

    return jax.device_get(of(params, data.xs, start))


# Every kind of cell; from the last step to the first, those with a backward pass of their own.
GATED, LINEAR = BY_NAME["lstm_learned"], BY_NAME["min_gru"]
WAYS = [(GATED, False), (LINEAR, False), (BY_NAME["plain"], False), (GATED, True), (LINEAR, True)]
OTHERS = [row for row in KINDS if all(row is not way for way, _ in WAYS)]


def name(value):
    """Returns the part of a test's id that a parameter makes."""
    return {False: "forward", True: "reverse"}.get(value) or getattr(value, "id", str(value))


@pytest.mark.parametrize(
    ("row", "reverse", "truncation"),
    [
        *((row, False, (2, 5)) for row, reverse in WAYS if not reverse),
        (GATED, True, (3, 4)),
        *(
            pytest.param(row, reverse, window, marks=pytest.mark.extended)
            for row, reverse, window in (
                *((row, True, (2, 5)) for row in (GATED, LINEAR)),
                *((GATED, reverse, (2, 2)) for reverse in (False, True)),
                (GATED, False, (3, 4)),
            )
        ),
        *as_parameters(OTHERS, False, (2, 5), usual=()),
    ],
    ids=name,
)
def test_truncated(row, reverse, truncation):
    """Against the definition: block by block, the part before its window without gradient."""
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    got, (ys, final) = gradients(row, params, data, start, reverse=reverse, truncation=truncation)
    values = run(row, params, data, start, reverse=reverse)
    assert_trees_close((ys, final), values[:2])
    expected = jax.jit(truncated_by_hand, static_argnums=(0, 5, 6))(
        row, params, data.xs, start, jax.tree.map(jnp.asarray, tuple(data)), truncation, reverse
    )
    assert_trees_close(got, expected)


def truncated_by_hand(row, params, xs, start, data, truncation, reverse):
    block, window = truncation
    valid = valid_steps(STEPS, data[1].shape, data[1], data[2])
    order = np.arange(STEPS)[::-1] if reverse else np.arange(STEPS)

    def block_loss(params, xs, start, first):
        begin = first + block - window

        def step(state, at):
            position, x, valid, reset = at
            frozen = position < begin

            def cut(tree):
                return jax.tree.map(
                    lambda leaf: jnp.where(frozen, lax.stop_gradient(leaf), leaf), tree
                )

            # The state that enters the window has no gradient; nor has anything before it.
            initial = row.cell.initial_state(cut(params), valid.shape, jnp.float64)

            def where(condition, new, old):
                return jax.tree.map(lambda a, b: select(condition, a, b), new, old)

            state = where(reset, initial, cut(state))
            x = jnp.where(valid[:, None], x, 0)
            y, new = advance(row.cell, cut(params), cut(x), state)
            state = cut(where(valid, new, state))
            return state, jnp.where(valid[:, None], cut(y), 0)

        steps = jnp.arange(STEPS), xs[order], valid[order], data[3][order]
        ys = lax.scan(step, start, steps)[1]
        inside = (jnp.arange(STEPS) >= first) & (jnp.arange(STEPS) < first + block)
        ys = jnp.where(inside[:, None, None], ys, lax.stop_gradient(ys))
        return weighed(ys[order])

    blocks = [
        only_inexact(jax.grad(block_loss, (0, 1, 2), allow_int=True)(params, xs, start, first))
        for first in range(0, STEPS, block)
    ]
    return jax.tree.map(lambda *parts: sum(parts), *blocks)


def test_a_window_of_all_steps_is_the_full_gradient():
    row, data = BY_NAME["lstm"], problem()
    params = random_params(row.cell)
    start = random_state(row.cell, params)
    full = gradients(row, params, data, start)
    assert_trees_close(gradients(row, params, data, start, truncation=(2, STEPS)), full)


@pytest.mark.extended
@both_directions
@pytest.mark.parametrize("name", ["lstm", "user"])
def test_boundaries_have_the_same_bits(name, reverse):
    """As users compile it: without optimisation the same sum is rounded in two ways."""
    row, data = BY_NAME[name], problem(steps=24)
    params = random_params(row.cell)
    arguments = params, jnp.asarray(data.xs), random_state(row.cell, params)

    def gradient(residuals):
        @jax.jit
        @functools.partial(jax.grad, argnums=(0, 1, 2))
        def of(params, xs, start):
            ys, _ = unroll_with(
                row.cell,
                params,
                xs,
                initial_state=start,
                lengths=data.lengths,
                reverse=reverse,
                chunk_size=2,
                residuals=residuals,
            )
            return weighed(ys)

        options = {"xla_backend_optimization_level": 3}
        if jax.__version__.startswith("0.10."):  # tests switch it off; newer versions refuse it
            options["xla_cpu_use_fusion_emitters"] = True
        return of.lower(*arguments).compile(options)(*arguments)

    assert_trees_equal(gradient("boundaries"), gradient("states"))


def test_boundaries_of_a_plain_cell_have_the_same_bits():
    row, data = BY_NAME["plain"], problem(steps=23)
    params = random_params(row.cell)
    start = random_state(row.cell, params)
    kept = gradients(row, params, data, start, chunk_size=5)
    assert_trees_equal(gradients(row, params, data, start, residuals="boundaries"), kept)


@pytest.mark.parametrize(
    "name", ["lstm", pytest.param("gru_reset_before", marks=pytest.mark.extended), "plain"]
)
def test_boundaries_need_least_memory(name):
    """Bytes of the compiled program's temporaries, of a loss of the final state alone."""
    cell = BY_NAME[name].make(32)
    params = jax.eval_shape(lambda key: cell.init(key, 2), jax.random.key(0))

    @functools.partial(jax.jit, static_argnums=2)
    def gradient(params, xs, residuals):
        def of(params):
            return unroll_with(cell, params, xs, residuals=residuals)[1].hidden.sum()

        return jax.grad(of)(params)

    def temporaries(residuals):
        xs = jax.ShapeDtypeStruct((2500, 8, 2), jnp.float32)
        compiled = gradient.lower(params, xs, residuals).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    kept = "auto" if name == "plain" else "states"
    assert temporaries("boundaries") < temporaries(kept) / 5


@pytest.mark.parametrize(
    ("row", "reverse"),
    [
        *((row, reverse) for row, reverse in WAYS if reverse == (row is GATED)),
        *as_parameters([GATED], False, usual=()),
        *as_parameters([LINEAR], True, usual=()),
        *as_parameters(OTHERS, False, usual=()),
    ],
    ids=name,
)
def test_clipping_between_steps(row, reverse):
    """Against the plain scan; a bound that is never reached changes nothing."""
    params, data = random_params(row.cell), problem()
    start = random_state(row.cell, params)
    options = {"reverse": reverse, "state_gradient_clip": 0.3}
    got = gradients(row, params, data, start, **options)
    assert_trees_close(got, gradients(row, params, data, start, executor="scan", **options))
    parts = [part for leaf in jax.tree.leaves(got[0][2]) for part in (leaf.real, leaf.imag)]
    assert max(np.abs(part).max() for part in parts) == 0.3
    full = gradients(row, params, data, start, reverse=reverse)
    assert np.abs(full[0][2][0]).max() > 0.3
    loose = gradients(row, params, data, start, reverse=reverse, state_gradient_clip=1e6)
    assert_trees_close(loose, full)


def test_clipping_by_hand():
    """A cell that doubles its state: the gradient 2^k of k steps stops at the bound."""
    cell = seqjax.linear_cell(
        "double",
        1,
        init=lambda key, in_size, dtype: (),
        coefficients=lambda params, x: (2 * jnp.ones_like(x), x),
    )

    def last(xs, clip):
        return unroll_with(cell, (), xs, state_gradient_clip=clip)[1].hidden.sum()

    gradient = jax.grad(last)(jnp.zeros((5, 1)), 5.0)
    assert gradient[:, 0].tolist() == [5, 5, 4, 2, 1]
