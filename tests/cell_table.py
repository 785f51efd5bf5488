"""The table of cells that drives the shared suites: a new cell is one row of `ROWS`.

A row holds a constructor and an independent NumPy version of one step, written from the equations.
Parameters in tests are random in every leaf, biases too: zero biases hide a missing bias.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax.cells import Cell, HiddenState

IN, HIDDEN, STEPS, BATCH = 3, 4, 7, 5


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def affine(p, x, gate, num_gates):
    """`W x + b` of one gate; columns are found here without the library's help."""
    h = p.bias.shape[0] // num_gates
    return x @ p.input_kernel[:, gate * h : (gate + 1) * h] + p.bias[gate * h : (gate + 1) * h]


def recurrent(p, h, gate):
    """`R h` of one gate."""
    size = h.shape[-1]
    return h @ p.recurrent_kernel[:, gate * size : (gate + 1) * size]


def elman_step(g1):
    def step(p, state, x):
        (h,) = state
        return (g1(affine(p, x, 0, 1) + recurrent(p, h, 0)),)

    return step


def lstm_step(p, state, x):
    h, c = state
    i, f, g, o = (affine(p, x, gate, 4) + recurrent(p, h, gate) for gate in range(4))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_after_step(p, state, x):
    (h,) = state
    z = sigmoid(affine(p, x, 0, 3) + recurrent(p, h, 0))
    r = sigmoid(affine(p, x, 1, 3) + recurrent(p, h, 1))
    n = np.tanh(affine(p, x, 2, 3) + r * (recurrent(p, h, 2) + p.recurrent_bias))
    return ((1 - z) * h + z * n,)


def gru_before_step(p, state, x):
    (h,) = state
    z = sigmoid(affine(p, x, 0, 3) + recurrent(p, h, 0))
    r = sigmoid(affine(p, x, 1, 3) + recurrent(p, h, 1))
    n = np.tanh(affine(p, x, 2, 3) + recurrent(p, r * h, 2))
    return ((1 - z) * h + z * n,)


def min_gru_step(p, state, x):
    (h,) = state
    z = sigmoid(affine(p, x, 0, 2))
    return ((1 - z) * h + z * affine(p, x, 1, 2),)


class MemoryState(NamedTuple):
    """State of the cell below: its output and a memory."""

    output: Any
    memory: Any


def user_cell(hidden_size: int) -> Cell:
    """Makes a cell as a user would, with all that a gated cell may have.

    Two fields of state, a summed gate, one of a second product, two separate ones.
    """

    def middle(state, keep, write, read):
        return jnp.tanh(write[1] - read[0]) * state.memory + jax.nn.sigmoid(keep) * state.output

    def update(state, keep, mix, write, read):
        k, (a, b), (c, d) = jax.nn.sigmoid(keep), write, read
        memory = k * state.memory + (1 - k) * jnp.sin(a - 2 * b + mix)
        return MemoryState(output=jnp.tanh(memory * c + d - mix), memory=memory)

    return seqjax.gated_cell(
        "user",
        hidden_size,
        gates=("keep", "mix", "write", "read"),
        separate=("write", "read"),
        second=("mix",),
        middle=middle,
        update=update,
        state=MemoryState,
    )


def user_step(p, state, x):
    h, m = state
    size = h.shape[-1]
    k = sigmoid(affine(p, x, 0, 4) + recurrent(p, h, 0))
    a, b = affine(p, x, 2, 4), recurrent(p, h, 2) + p.recurrent_bias[:size]
    c, d = affine(p, x, 3, 4), recurrent(p, h, 3) + p.recurrent_bias[size:]
    mix = affine(p, x, 1, 4) + recurrent(p, np.tanh(b - c) * m + k * h, 1)
    m = k * m + (1 - k) * np.sin(a - 2 * b + mix)
    return np.tanh(m * c + d - mix), m


def plain_cell(hidden_size: int) -> Cell:
    """Makes a cell that is not pointwise behind its product: what its units see is centred."""
    like = seqjax.elman(hidden_size)

    def step(params, state, drive):
        z = drive + seqjax.cells.affine(state.hidden, params.recurrent_kernel)
        return HiddenState(jnp.tanh(z - z.mean(axis=-1, keepdims=True)))

    return Cell(
        name="plain",
        hidden_size=hidden_size,
        init=like.init,
        initial_state=like.initial_state,
        project=like.project,
        step=step,
        output=like.output,
    )


def plain_step(p, state, x):
    (h,) = state
    z = affine(p, x, 0, 1) + recurrent(p, h, 0)
    return (np.tanh(z - z.mean(axis=-1, keepdims=True)),)


@dataclasses.dataclass(frozen=True)
class Row:
    """A cell of the table.

    Attributes:
      name: the row's name in test ids.
      make: constructor, from the hidden size.
      step: one step in NumPy, `step(params, state, x) -> state` for a single sequence.
      fields: number of fields of the state.
      known_step: whether another row has the same step, so that only its start is of interest.
    """

    name: str
    make: Callable[[int], Cell]
    step: Callable[..., tuple]
    fields: int = 1
    known_step: bool = False

    @functools.cached_property
    def cell(self) -> Cell:
        """The cell with `HIDDEN` units, one object so that compiled programs are shared."""
        return self.make(HIDDEN)


def _lstm(name, known_step=False, **options):
    make = functools.partial(seqjax.lstm, **options)
    return Row(name, make, lstm_step, fields=2, known_step=known_step)


ROWS = [
    Row("elman_tanh", seqjax.elman, elman_step(np.tanh)),
    Row(
        "elman_relu",
        functools.partial(seqjax.elman, activation="relu"),
        elman_step(lambda z: np.maximum(z, 0)),
    ),
    Row(
        "elman_sigmoid",
        functools.partial(seqjax.elman, activation="sigmoid"),
        elman_step(sigmoid),
    ),
    _lstm("lstm"),
    _lstm("lstm_learned", learned_initial_state=True),
    _lstm("lstm_chrono", known_step=True, max_timescale=50.0),
    Row("gru", seqjax.gru, gru_after_step),
    Row("gru_reset_before", functools.partial(seqjax.gru, reset_after=False), gru_before_step),
    Row("min_gru", seqjax.min_gru, min_gru_step),
    Row("user", user_cell, user_step, fields=2),
    Row("plain", plain_cell, plain_step),
]
BY_NAME = {row.name: row for row in ROWS}

# One of each kind - `GatedCell`, plain `Cell`, `LinearCell` - for what no single cell can change.
KINDS = [BY_NAME[name] for name in ("lstm_learned", "plain", "min_gru")]

every_cell = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
every_step = pytest.mark.parametrize(
    "row", [row for row in ROWS if not row.known_step], ids=lambda row: row.name
)
every_kind = pytest.mark.parametrize("row", KINDS, ids=lambda row: row.name)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def random_params(cell: Cell, in_size: int = IN, *, seed: int = 0, dtype=jnp.float64) -> Any:
    """Returns parameters of the cell's layout with every leaf random."""
    rng = np.random.default_rng(seed)
    layout = jax.eval_shape(lambda key: cell.init(key, in_size), jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(0.6 * rng.normal(size=leaf.shape), dtype), layout)


def random_state(cell: Cell, params: Any, batch=(BATCH,), *, seed: int = 1, dtype=jnp.float64):
    """Returns a random state of the cell."""
    rng = np.random.default_rng(seed)
    state = cell.initial_state(params, batch, dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(0.8 * rng.normal(size=leaf.shape), dtype), state)


class Problem(NamedTuple):
    """Inputs of an unroll, in NumPy; `arguments` of `run` in this order."""

    xs: np.ndarray
    lengths: np.ndarray
    mask: np.ndarray
    resets: np.ndarray

    @property
    def valid(self):
        steps = np.arange(len(self.xs)).reshape(-1, *(1 for _ in self.lengths.shape))
        return (steps < self.lengths[None]) & self.mask


def problem(steps: int = STEPS, batch=(BATCH,), *, seed: int = 2, plain: bool = False) -> Problem:
    """Returns a batch with lengths 0, 1 and T among others, interior masks and resets.

    With `plain`, every step is valid and there is no reset.
    """
    rng = np.random.default_rng(seed)
    size = int(np.prod(batch, dtype=int))
    lengths = np.resize([steps, 0, 1, steps - 1, steps // 2], size).clip(0).reshape(batch)
    mask, resets = rng.random((2, steps, *batch)) < np.array([0.8, 0.2]).reshape(
        2, *(1 for _ in (steps, *batch))
    )
    if plain:
        lengths, mask, resets = np.full(batch, steps), np.full_like(mask, True), mask & False
    return Problem(rng.normal(size=(steps, *batch, IN)), lengths, mask, resets)


_unroll = jax.jit(
    seqjax.unroll,
    static_argnums=0,
    static_argnames=("reverse", "return_states", "dtype", "carry_dtype", "chunk_size", "executor"),
)


def run(row: Row, params, problem: Problem, initial_state=None, **options):
    """Runs `unroll` compiled, every argument given, so that suites share their programs.

    Returns:
      `(ys, final, states)`.
    """
    return _run(_unroll, row, params, problem, initial_state, options)


def run_eagerly(row: Row, params, problem: Problem, initial_state=None, **options):
    """Runs `unroll` step by step in Python, without any compiled loop."""
    with jax.disable_jit():
        return _run(seqjax.unroll, row, params, problem, initial_state, options)


def in_numpy(tree):
    """Moves results to NumPy, where indexing compiles nothing; a traced result stays as it is."""
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
    return tree if traced else jax.device_get(tree)


def _run(unroll, row, params, problem, initial_state, options):
    xs, lengths, mask, resets = (jnp.asarray(array) for array in problem)
    if initial_state is None:
        initial_state = row.cell.initial_state(params, lengths.shape, jnp.float64)
    options = {"chunk_size": 100, "return_states": True} | options
    arguments = {"lengths": lengths, "mask": mask, "resets": resets} | options
    return in_numpy(unroll(row.cell, params, xs, initial_state=initial_state, **arguments))


WEIGHTS = np.random.default_rng(6).normal(size=(STEPS + 1, BATCH, HIDDEN))


def loss(ys, final):
    """Weighs every output and every number of the final state differently."""
    ends = sum((k + 1) * (WEIGHTS[-1] * leaf).sum() for k, leaf in enumerate(final))
    return (WEIGHTS[:-1] * ys).sum() + ends


@functools.partial(jax.jit, static_argnums=0, static_argnames=("reverse", "chunk_size"))
def _values_and_gradients(row, params, problem, start, **options):
    def total(params, xs, start):
        result = run(row, params, problem._replace(xs=xs), start, **options)
        return loss(*result[:2]), result

    gradient = jax.grad(total, argnums=(0, 1, 2), has_aux=True)
    return gradient(params, problem.xs, start)[::-1]


def part(problem: Problem, start: int, stop: int) -> Problem:
    """Cuts steps out, padded with NaN to the same number of steps: no new program is needed."""
    steps = len(problem.xs)

    def cut(array, fill):
        rest = np.full((steps - (stop - start), *array.shape[1:]), fill, array.dtype)
        return np.concatenate([array[start:stop], rest])

    return Problem(
        cut(problem.xs, np.nan),
        (problem.lengths - start).clip(0, stop - start),
        cut(problem.mask, True),
        cut(problem.resets, False),
    )


def values_and_gradients(row: Row, params, problem: Problem, start, **options):
    """Returns what `run` does, and the gradients of parameters, input and initial state."""
    problem = Problem(*(jnp.asarray(array) for array in problem))
    return in_numpy(_values_and_gradients(row, params, problem, start, **options))


def reference(row: Row, params, problem: Problem, initial_state=None, *, reverse=False):
    """The semantics of `unroll` as plain Python loops over sequences and steps, in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    learned = getattr(params, "initial_state", None)
    start = tuple(np.zeros(HIDDEN) for _ in range(row.fields)) if learned is None else (*learned,)
    steps, batch = len(problem.xs), problem.lengths.shape
    xs, mask, resets = (
        array.reshape(steps, problem.lengths.size, *array.shape[1 + len(batch) :])
        for array in (problem.xs, problem.mask, problem.resets)
    )
    states = [np.zeros((steps, problem.lengths.size, HIDDEN)) for _ in start]
    final = [np.zeros((problem.lengths.size, HIDDEN)) for _ in start]
    ys = np.zeros((steps, problem.lengths.size, HIDDEN))
    for b, length in enumerate(problem.lengths.ravel()):
        state = start
        if initial_state is not None:
            state = tuple(np.asarray(leaf).reshape(-1, HIDDEN)[b] for leaf in initial_state)
        for t in range(steps)[::-1] if reverse else range(steps):
            if resets[t, b]:
                state = start
            if t < length and mask[t, b]:
                state = row.step(params, state, xs[t, b])
                ys[t, b] = state[0]
            for field, value in zip(states, state, strict=True):
                field[t, b] = value
        for field, value in zip(final, state, strict=True):
            field[b] = value
    return (
        ys.reshape(steps, *batch, HIDDEN),
        tuple(field.reshape(*batch, HIDDEN) for field in final),
        tuple(field.reshape(steps, *batch, HIDDEN) for field in states),
    )


def assert_trees_close(got, expected, rtol=1e-10, atol=1e-12):
    """Compares the leaves of two trees, whatever their containers."""
    got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=atol)


def assert_trees_equal(got, expected):
    """Compares the leaves of two trees to the last bit; NaN equals nothing here."""
    got, expected = jax.tree.leaves(got), jax.tree.leaves(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert not np.isnan(np.asarray(a)).any()
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
