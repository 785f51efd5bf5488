"""Executors are values: chosen, named, given, compared, and refused where they cannot run."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BATCH,
    HIDDEN,
    KINDS,
    ROWS,
    STEPS,
    as_parameters,
    assert_trees_close,
    problem,
    random_params,
)
from marks import with_usual

import seqjax
from seqjax.cells import AssociativeCell, LinearCell
from seqjax.executors import EXECUTORS, Associative, Chunked, Scan, Sequential
from seqjax.executors._associative import linear_recurrence

LINEAR = tuple(row.name for row in ROWS if isinstance(row.cell, LinearCell))
COMBINED = tuple(row.name for row in ROWS if isinstance(row.cell, AssociativeCell))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_who_runs_what(row):
    accepted = {name for name, made in EXECUTORS.items() if made().refusal(row.cell) is None}
    linear = row.name in LINEAR + COMBINED
    expected = {"sequential", "scan", "associative" if linear else "newton"}
    assert accepted - {"chunked"} == expected  # which test_chunked.py asks


def test_a_refusal_names_cell_and_executor():
    cell = seqjax.lstm(4)
    with pytest.raises(
        ValueError, match=r"Associative cannot run lstm\(4\): it needs a LinearCell"
    ):
        seqjax.unroll(
            cell, cell.init(jax.random.key(0), 3), jnp.ones((5, 3)), executor="associative"
        )


@pytest.mark.parametrize(
    ("executor", "cell"),
    [
        (Sequential(residuals="gates"), seqjax.min_gru(4)),
        (Sequential(residuals="states"), next(row.cell for row in ROWS if row.name == "plain")),
    ],
    ids=str,
)
def test_an_option_that_would_be_ignored_is_refused(executor, cell):
    with pytest.raises(ValueError, match="needs a cell of another kind"):
        seqjax.unroll(cell, cell.init(jax.random.key(0), 3), jnp.ones((5, 3)), executor=executor)


def test_an_option_of_another_executor_does_not_exist():
    with pytest.raises(TypeError):
        Associative(truncation=3)  # pyright: ignore[reportCallIssue]


def test_executors_compare_hash_and_pickle():
    for made in EXECUTORS.values():
        assert made() == made()
        assert hash(made()) == hash(made())
        assert pickle.loads(pickle.dumps(made())) == made()
    assert Sequential(chunk_size=3) != Sequential()


def test_what_is_chosen_can_be_asked(monkeypatch):
    for row in ROWS:
        matrix = Chunked().refusal(row.cell) is None
        assert seqjax.executors.choose(row.cell) == (Chunked() if matrix else Sequential())
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    chosen = {row.name: type(seqjax.executors.choose(row.cell)) for row in ROWS}
    assert {name for name, made in chosen.items() if made is Associative} == set(LINEAR)


def test_a_class_is_no_executor():
    cell = seqjax.lstm(4)
    params = cell.init(jax.random.key(0), 3)
    with pytest.raises(TypeError, match="must be an executor such as"):
        seqjax.unroll(cell, params, jnp.ones((5, 3)), executor=Scan)  # pyright: ignore


@dataclasses.dataclass(frozen=True)
class InPython:
    """An executor as a user would write one: a loop in Python over real steps."""

    def refusal(self, cell):
        return None if cell.name == "lstm" else "it runs lstm only"

    def run(self, run):
        cell, state, states = run.cell, run.state, []
        for x in run.inputs.xs[::-1] if run.reverse else run.inputs.xs:
            state = cell.step(run.params, state, cell.project(run.params, x))
            states.append(state)
        forward = states[::-1] if run.reverse else states
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *forward)
        return state, stacked


@pytest.mark.parametrize("reverse", [False, True])
def test_a_users_own_executor(reverse):
    cell = seqjax.lstm(HIDDEN)
    params, xs = random_params(cell, dtype=jnp.float32), problem().xs.astype(np.float32)
    got = seqjax.unroll(cell, params, xs, executor=InPython(), reverse=reverse)
    assert_trees_close(got, seqjax.unroll(cell, params, xs, reverse=reverse), 1e-5, 1e-5)
    with pytest.raises(ValueError, match="it runs lstm only"):
        seqjax.unroll(seqjax.gru(4), params, xs, executor=InPython())


@pytest.mark.parametrize("name", ["min_gru", "lru", "rg_lru"])
def test_layers_pass_their_executor_on(name):
    from flax import nnx

    cell = seqjax.make_cell(name, HIDDEN)
    rngs = nnx.Rngs(0)
    layers = [
        seqjax.nn.RNN(cell, 3, executor="associative", rngs=rngs),
        seqjax.nn.Bidirectional(cell, HIDDEN, executor=Associative(), rngs=rngs),
    ]
    stack = seqjax.nn.Stack(layers)
    program = str(jax.make_jaxpr(stack)(jnp.ones((2, STEPS, 3))))
    assert "scan[" not in program  # nothing runs in sequence
    with pytest.raises(ValueError, match="Associative cannot run"):
        seqjax.nn.RNN(seqjax.lstm(4), 3, executor="associative", rngs=rngs)


@pytest.mark.parametrize("name", LINEAR)
def test_what_a_linear_cell_keeps(name):
    """In sequence the states alone."""
    cell = next(row for row in ROWS if row.name == name).make(64)
    steps, batch = 256, 8
    xs = jax.ShapeDtypeStruct((steps, batch, 64), jnp.float32)
    params = jax.eval_shape(lambda key: cell.init(key, 64), jax.random.key(0))

    def kept(executor):
        def hidden(params, xs):
            return seqjax.unroll(cell, params, xs, executor=executor, return_states=True)[2].hidden

        def pulled(params, xs):
            return jax.vjp(hidden, params, xs)[1]

        leaves = jax.tree.leaves(jax.eval_shape(jax.jit(pulled), params, xs))
        state = jax.eval_shape(lambda p: cell.initial_state(p), params)[0]
        given = xs.size + sum(leaf.size for leaf in jax.tree.leaves(params))
        return (sum(leaf.size for leaf in leaves) - given) / (steps * batch * state.size)

    assert kept("sequential") < 1.3


def test_a_state_that_is_not_finite_ends_at_a_reset():
    """Zero times infinity is no zero: a reset must not be a multiplication."""
    cell = seqjax.linear_cell(
        "sum",
        2,
        init=lambda key, in_size, dtype=jnp.float32: (),
        coefficients=lambda params, xs: (jnp.ones_like(xs), xs),
    )
    xs = jnp.ones((6, BATCH, 2)).at[1].set(jnp.inf)
    resets = jnp.zeros((6, BATCH), bool).at[3].set(True)

    def total(xs, executor):
        ys, _ = seqjax.unroll(cell, (), xs, resets=resets, executor=executor)
        return ys[3:].sum(), ys

    gradient = jax.jit(jax.grad(total, has_aux=True), static_argnums=1)
    for executor in ("sequential", "associative", "scan"):
        d_xs, ys = gradient(xs, executor)
        np.testing.assert_array_equal(ys[3:, 0, 0], [1, 2, 3])
        np.testing.assert_array_equal(d_xs[:, 0, 0], [0, 0, 0, 3, 2, 1])


@pytest.mark.parametrize(
    "name",
    with_usual(COMBINED, ("mlstm", "delta_net")),
)
def test_a_combined_state_that_is_not_finite_ends_at_a_reset(x64, name):
    """Elements before a reset are combined, too; what they hold must not reach beyond it."""
    cell = next(row.cell for row in ROWS if row.name == name)
    params, data = random_params(cell), problem(plain=True)
    data.xs[1], data.resets[3] = np.nan, True

    def results(xs, resets):
        def total(xs):
            ys, _ = seqjax.unroll(cell, params, xs, resets=resets, executor="associative")
            return jnp.sin(ys[-4:]).sum(), ys[-4:]

        d_xs, ys = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(xs))
        return ys, d_xs[-4:]

    assert STEPS == 7
    own = results(data.xs[3:], None)
    assert_trees_close(results(data.xs, data.resets), own)


# The fastest to compile stands for the others.
@pytest.mark.parametrize(
    ("row", "executor"),
    [
        case
        for executor, usual in ((Sequential(chunk_size=3), ("min_gru",)), (Associative(), ()))
        for case in as_parameters(
            [row for row in KINDS if row.name in LINEAR + COMBINED],
            executor,
            name=type(executor).__name__,
            usual=usual,
        )
    ],
)
def test_second_derivatives_of_linear_cells(x64, row, executor):
    """Reverse over reverse and forward over reverse, with lengths and resets."""
    params, data = random_params(row.cell), problem()
    xs = jnp.asarray(data.xs)

    def second(executor):
        def total(xs):
            ys, _ = seqjax.unroll(
                row.cell,
                params,
                xs,
                lengths=data.lengths,
                resets=data.resets,
                executor=executor,
            )
            return jnp.sin(ys).sum()

        def slope(xs):
            return (jax.grad(total)(xs) ** 2).sum()

        over = jax.jvp(jax.grad(total), (xs,), (jnp.cos(xs),))[1]
        return jax.jit(lambda xs: (jax.grad(slope)(xs), over))(xs)

    assert_trees_close(second(executor), second("scan"), 1e-8, 1e-10)


def _recurrence(steps, width, *, dtype=np.float32):
    """Returns decays from 0.5 to 0.9999, by unit, and inputs."""
    rng = np.random.default_rng(0)
    time_scales = np.geomspace(-1 / np.log(0.5), -1 / np.log(0.9999), width)
    a = np.broadcast_to(np.exp(-1 / time_scales), (steps, 2, width))
    b = rng.normal(size=(steps, 2, width)) * (1 - a)
    return jnp.asarray(a, dtype), jnp.asarray(b, dtype), jnp.ones((2, width), dtype)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_linear_recurrence_and_its_gradients(x64, reverse):
    """Chunks of chunks, a rest in both, and resets."""
    a, b, initial = _recurrence(4133, 3, dtype=np.float64)
    resets = jnp.asarray(np.random.default_rng(1).random((4133, 2)) < 1e-3)

    def in_sequence(a, b, initial):
        def step(h, at):
            a, b, reset = at
            h = jnp.where(reset[..., None], 0, a * h) + b
            return h, h

        return jax.lax.scan(step, initial, (a, b, resets), reverse=reverse)[1]

    def in_parallel(a, b, initial):
        return linear_recurrence(a, b, initial, resets, reverse)

    def results(run):
        def total(*arguments):
            states = run(*arguments)
            return jnp.sin(7 * states).sum(), states

        return jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(a, b, initial)

    assert_trees_close(results(in_parallel), results(in_sequence), 1e-9, 1e-10)


def test_a_very_long_linear_recurrence_in_float32():
    """The values of a sum in double precision, and no more memory than four times the states."""
    a, b, initial = _recurrence(100_000, 8)
    run = jax.jit(lambda *given: linear_recurrence(*given, None, False))
    found = run.lower(a, b, initial).compile()
    kept = found.memory_analysis()
    held = kept.temp_size_in_bytes + kept.output_size_in_bytes + kept.argument_size_in_bytes
    assert held <= 4 * a.nbytes

    states = np.asarray(found(a, b, initial))
    expected, decay = np.asarray(initial, np.float64), np.asarray(a[0], np.float64)
    for t, drive in enumerate(np.asarray(b, np.float64)):
        expected = decay * expected + drive
        if t % 997 == 0 or t == 99_999:
            np.testing.assert_allclose(states[t], expected, rtol=1e-5, atol=1e-5)
