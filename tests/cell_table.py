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
from seqjax.cells import Cell, HiddenState, SLSTMState

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


def ind_rnn_step(p, state, x):
    (h,) = state
    return (np.maximum(affine(p, x, 0, 1) + p.units["recurrent"] * h, 0),)


def peephole_lstm_step(p, state, x):
    h, c = state
    i, f, g, o = (affine(p, x, gate, 4) + recurrent(p, h, gate) for gate in range(4))
    i, f = i + p.units["input_peephole"] * c, f + p.units["forget_peephole"] * c
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o + p.units["output_peephole"] * c) * np.tanh(c), c


def slstm_step(p, state, x):
    """With two heads, whose kernels are found here without the library's help."""
    h, c, n, m = state
    half = h.shape[-1] // 2
    parts = [
        h[..., half * head : half * (head + 1)] @ p.recurrent_kernel[head] for head in range(2)
    ]

    def gate(number):
        columns = slice(half * number, half * (number + 1))
        return affine(p, x, number, 4) + np.concatenate([part[columns] for part in parts])

    i, f, z, o = (gate(number) for number in range(4))
    kept = np.log(sigmoid(f)) + m
    largest = np.maximum(kept, i)
    weight, keep = np.exp(i - largest), np.exp(kept - largest)
    c, n = keep * c + weight * np.tanh(z), keep * n + weight
    return sigmoid(o) * c / n, c, n, largest


def lru_step(p, state, x):
    (h,) = state
    size = p["decay_log"].shape[0]
    a = np.exp(-np.exp(p["decay_log"])) * np.exp(1j * np.exp(p["phase_log"]))
    kernel = p["input_kernel"][:, :size] + 1j * p["input_kernel"][:, size:]
    return (a * h + np.exp(p["scale_log"]) * (x @ kernel),)


def lru_output(p, state, x):
    size = p["decay_log"].shape[0]
    kernel = p["output_kernel"][:size] + 1j * p["output_kernel"][size:]
    return (state[0] @ kernel).real + x @ p["skip_kernel"]


def rg_lru_step(p, state, x):
    """With two heads; the first step of a sequence takes its input whole."""
    h, fresh = state
    x = x @ p["input_kernel"]
    half = x.shape[-1] // 2
    parts = [x[half * head : half * (head + 1)] @ p["gate_kernel"][head] for head in range(2)]
    gates = [np.concatenate([part[half * k : half * (k + 1)] for part in parts]) for k in range(2)]
    r, i = (sigmoid(z + b) for z, b in zip(gates, np.split(p["gate_bias"], 2), strict=True))
    a = np.exp(-8 * r * np.log1p(np.exp(p["decay"])))
    keep, root = (0, 1) if fresh else (a, np.sqrt(1 - a**2))
    return keep * h + root * i * x, np.array(False)


def coupled_lstm_step(p, state, x):
    h, c = state
    f, g, o = (affine(p, x, gate, 3) + recurrent(p, h, gate) for gate in range(3))
    c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def projected_lstm_step(p, state, x):
    m, c = state
    h, size = m @ p.extra["projection"], m.shape[-1]
    i, f, g, o = (
        affine(p, x, gate, 4) + h @ p.recurrent_kernel[:, size * gate : size * (gate + 1)]
        for gate in range(4)
    )
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def projected_lstm_output(p, state, x):
    return state[0] @ p.extra["projection"]


def normalised(v):
    return (v - v.mean()) / np.sqrt(v.var() + 1e-5)


def layer_norm_lstm_step(p, state, x):
    (h, c), u = state, p.units
    gates = u["input_gain"] * normalised(x @ p.input_kernel)
    gates = gates + u["recurrent_gain"] * normalised(h @ p.recurrent_kernel) + u["gate_bias"]
    i, f, g, o = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(u["memory_gain"] * normalised(c) + u["memory_shift"]), c


def layer_norm_gru_step(p, state, x):
    """The two gates are normalised together, the candidate by itself."""
    (h,), u, size = state, p.units, len(state[0])
    drive, product = x @ p.input_kernel, h @ p.recurrent_kernel
    a, b = (
        np.concatenate([normalised(v[: 2 * size]), normalised(v[2 * size :])])
        for v in (drive, product)
    )
    a, b = u["input_gain"] * a + u["gate_bias"], u["recurrent_gain"] * b
    z, r = np.split(sigmoid(a + b)[: 2 * size], 2)
    n = np.tanh(a[2 * size :] + r * (b[2 * size :] + u["recurrent_bias"]))
    return ((1 - z) * h + z * n,)


def mgu_step(p, state, x):
    (h,) = state
    f = sigmoid(affine(p, x, 0, 2) + recurrent(p, h, 0))
    n = np.tanh(affine(p, x, 1, 2) + recurrent(p, f * h, 1))
    return ((1 - f) * h + f * n,)


def antisymmetric_rnn_step(p, state, x):
    """With a step of 0.1 and a damping of 0.1; `M` multiplies a column from the left."""
    (h,) = state
    m = p.recurrent_kernel.T
    product = (m - m.T - 0.1 * np.eye(len(h))) @ h
    if p.bias.shape == h.shape:
        return (h + 0.1 * np.tanh(product + affine(p, x, 0, 1)),)
    z = sigmoid(product + affine(p, x, 0, 2))
    return (h + 0.1 * z * np.tanh(product + affine(p, x, 1, 2)),)


def leaky_rnn_step(p, state, x):
    (h,) = state
    tau = 5.0 if p.units is None else 1 + np.exp(-p.units["leak"])
    return (h + (np.tanh(affine(p, x, 0, 1) + recurrent(p, h, 0)) - h) / tau,)


def fast_grnn_step(p, state, x):
    (h,), u = state, p.units
    shared = x @ p.input_kernel + h @ p.recurrent_kernel
    z, n = sigmoid(shared + u["gate_bias"]), np.tanh(shared + u["candidate_bias"])
    return ((sigmoid(u["zeta"]) * (1 - z) + sigmoid(u["nu"])) * n + z * h,)


def lem_step(p, state, x):
    y, z = state
    d, e = (0.31 * sigmoid(affine(p, x, gate, 4) + recurrent(p, y, gate)) for gate in range(2))
    z = (1 - e) * z + e * np.tanh(affine(p, x, 2, 4) + recurrent(p, y, 2))
    y = (1 - d) * y + d * np.tanh(affine(p, x, 3, 4) + recurrent(p, z, 3))
    return y, z


def co_rnn_step(p, state, x):
    """With a step of 0.042, gamma 2.7 and epsilon 4.7."""
    y, z = state
    force = np.tanh(affine(p, x, 0, 1) + recurrent(p, y, 0) + recurrent(p, z, 1))
    z = z + 0.042 * (force - 2.7 * y - 4.7 * z)
    return y + 0.042 * z, z


def unicornn_step(p, state, x):
    """With a step of 0.19 and alpha 30.65."""
    (y, z), d = state, 0.19 * sigmoid(p.units["control"])
    z = z - d * (np.tanh(p.units["recurrent"] * y + affine(p, x, 0, 1)) + 30.65 * y)
    return y + d * z, z


def min_lstm_step(p, state, x):
    (h,) = state
    f, i, candidate = np.split(x @ p["input_kernel"] + p["bias"], 3)
    f, i = sigmoid(f), sigmoid(i)
    return (f / (f + i) * h + i / (f + i) * candidate,)


def s5_step(p, state, x):
    (h,) = state
    x = x @ p["map_kernel"]
    rate, step = p["rate"] + 1j * p["frequency"], np.exp(p["log_step"])
    kernel = p["input_kernel"][:, :3] + 1j * p["input_kernel"][:, 3:]
    a = np.exp(rate * step)
    return (a * h + (a - 1) / rate * (x @ kernel),)


def s5_output(p, state, x):
    kernel = p["output_kernel"][:3] + 1j * p["output_kernel"][3:]
    return 2 * (state[0] @ kernel).real + p["skip"] * (x @ p["map_kernel"])


def softplus(z):
    return np.log1p(np.exp(z))


def s6_step(p, state, x):
    """With two states a unit, and steps of rank 1."""
    (h,) = state
    x = x @ p["input_kernel"]
    low, b = np.split(x @ p["select_kernel"], [1])
    step = softplus(low @ p["step_kernel"] + p["step_bias"])
    new = np.zeros_like(h)
    for unit in range(len(x)):
        a = np.exp(-step[unit] * np.exp(p["decay_log"][unit]))
        new[unit] = a * h[unit] + step[unit] * b * x[unit]
    return (new,)


def s6_output(p, state, x):
    x = x @ p["input_kernel"]
    return state[0] @ (x @ p["read_kernel"]) + p["skip"] * x


def mamba2_step(p, state, x):
    """With two heads of two units, and three states."""
    (h,) = state
    v, b, step = np.split(x @ p["input_kernel"], [4, 7])
    step = softplus(step + p["step_bias"])
    a = np.exp(-np.exp(p["decay_log"]) * step)
    return (np.stack([a[i] * h[i] + step[i] * np.outer(v[2 * i :][:2], b) for i in range(2)]),)


def mamba2_output(p, state, x):
    v, c = (x @ p["input_kernel"])[:4], x @ p["read_kernel"]
    return np.concatenate([state[0][i] @ c + p["skip"][i] * v[2 * i :][:2] for i in range(2)])


def gla_step(p, state, x):
    """With two heads, keys of three features and values of two."""
    (s,) = state
    k, v = np.split(x @ p["input_kernel"], [6])
    a = sigmoid(x @ p["decay_in_kernel"] @ p["decay_out_kernel"] + p["decay_bias"]) ** (1 / 4)
    heads = zip(s, *(np.split(part, 2) for part in (a, k, v)), strict=True)
    return (np.stack([np.diag(a) @ s + np.outer(k, v) for s, a, k, v in heads]),)


def gla_output(p, state, x):
    q = np.split(x @ p["read_kernel"], 2)
    return np.concatenate([s.T @ q / np.sqrt(3) for s, q in zip(state[0], q, strict=True)])


def qrnn_step(p, state, x):
    """With a window of three inputs: the newest adds to the gates of this step and of two more."""
    _, c, pending = state
    taps = (x @ p["input_kernel"]).reshape(3, 3, 4)
    z, f, o = taps[0] + p["bias"].reshape(3, 4) + pending[0]
    c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(z)
    return sigmoid(o) * c, c, np.stack([pending[1] + taps[1], taps[2]])


def mlstm_step(p, state, x):
    """With two heads of two units."""
    memory, normaliser, m = state
    k, v = np.split(x @ p["input_kernel"] + p["input_bias"], 2)
    i, f = np.split(x @ p["gate_kernel"] + p["gate_bias"], 2)
    f = np.log(sigmoid(f))
    largest = np.maximum(f + m, i)
    after = []
    for head in range(2):
        key, value = (part[2 * head : 2 * head + 2] for part in (k / np.sqrt(2), v))
        keep, weight = np.exp(f + m - largest)[head], np.exp(i - largest)[head]
        after.append(
            (
                keep * memory[head] + weight * np.outer(key, value),
                keep * normaliser[head] + weight * key,
            )
        )
    return *(np.stack(field) for field in zip(*after, strict=True)), largest


def mlstm_output(p, state, x):
    q, o = np.split(x @ p["read_kernel"] + p["read_bias"], 2)
    heads = []
    for memory, normaliser, m, query in zip(*state, np.split(q, 2), strict=True):
        heads.append(memory.T @ query / max(abs(normaliser @ query), np.exp(-m)))
    return sigmoid(o) * np.concatenate(heads)


def unit(x):
    """The silu of `x`, of length 1; the library keeps clear of a division by zero."""
    x = x * sigmoid(x)
    return x / np.sqrt(x @ x + 1e-6)


def delta_net_step(negative_eigenvalues, p, state, x):
    """With as many heads as the state has."""
    (s,) = state
    heads = len(s)
    k, v, b = np.split(x @ p["input_kernel"], [4, 8])
    b, v = sigmoid(b) * (2 if negative_eigenvalues else 1), v * sigmoid(v)
    decay = np.ones(heads)
    if "decay_log" in p:
        decay = np.exp(-np.exp(p["decay_log"]) * softplus(x @ p["decay_kernel"] + p["step_bias"]))
    after = []
    for head, (key, value) in enumerate(zip(np.split(k, heads), np.split(v, heads), strict=True)):
        key = unit(key)
        turned = np.eye(len(key)) - b[head] * np.outer(key, key)
        after.append(decay[head] * turned @ s[head] + b[head] * np.outer(key, value))
    return (np.stack(after),)


def delta_net_output(p, state, x):
    (s,) = state
    q = np.split(x @ p["read_kernel"], len(s))
    scale = np.sqrt(s.shape[1])
    return np.concatenate([s.T @ unit(q) / scale for s, q in zip(s, q, strict=True)])


def sru_step(p, state, x):
    (c, _), u = state, p.units
    v, f, r = np.split(x @ p.input_kernel, 3)
    f = sigmoid(f + u["forget_weight"] * c + u["forget_bias"])
    return f * c + (1 - f) * v, sigmoid(r + u["reset_weight"] * c + u["reset_bias"])


def sru_output(p, state, x):
    c, r = state
    return r * c + (1 - r) * (x @ p.extra["skip_kernel"])


def para_gru_step(p, state, x):
    (h,), u = state, p.units
    z = sigmoid(affine(p, x, 0, 3) + u["update_weight"] * h)
    r = sigmoid(affine(p, x, 1, 3) + u["reset_weight"] * h)
    n = np.tanh(affine(p, x, 2, 3) + u["candidate_weight"] * (r * h))
    return ((1 - z) * h + z * n,)


def para_lstm_step(p, state, x):
    (h, c), u = state, p.units
    f = sigmoid(affine(p, x, 0, 3) + u["forget_weight"] * h + u["forget_peephole"] * c)
    c = f * c + (1 - f) * np.tanh(affine(p, x, 1, 3) + u["candidate_weight"] * h)
    o = sigmoid(affine(p, x, 2, 3) + u["output_weight"] * h + u["output_peephole"] * c)
    return o * np.tanh(c), c


def fast_rnn_step(p, state, x):
    (h,), u = state, p.units
    new = np.tanh(affine(p, x, 0, 1) + recurrent(p, h, 0))
    return (sigmoid(u["alpha"]) * new + sigmoid(u["beta"]) * h,)


def cfc_step(p, state, x):
    """With a hidden layer of three units, and steps of length 1."""
    (h,) = state
    u = 1.7159 * np.tanh(0.666 * (x @ p["input_kernel"] + h @ p["recurrent_kernel"] + p["bias"]))
    f, g, a, b = np.split(u @ p["output_kernel"] + p["output_bias"], 4)
    share = sigmoid(a + b)
    return (np.tanh(f) * (1 - share) + share * np.tanh(g),)


def ltc_step(p, state, x):
    """Two implicit steps of a half, neuron by neuron."""
    (v,) = state

    def synapses(kind, u, j):
        weight = softplus(p[f"{kind}weight"][:, j])
        open_ = weight * sigmoid(p[f"{kind}slope"][:, j] * (u - p[f"{kind}centre"][:, j]))
        return np.array([(open_ * p[f"{kind}reversal"][:, j]).sum(), open_.sum()])

    for _ in range(2):
        new = np.zeros_like(v)
        for j in range(len(v)):
            pull, total = synapses("", v, j) + synapses("input_", x, j)
            c, g = softplus(p["capacity"][j]) * 2, softplus(p["leak"][j])
            new[j] = (c * v[j] + g * p["leak_potential"][j] + pull) / (c + g + total)
        v = new
    return (v,)


class MemoryState(NamedTuple):
    """State of the cell below: its output and a memory."""

    output: Any
    memory: Any


def user_cell(hidden_size: int) -> Cell:
    """Makes a cell as a user would, with all that a gated cell may have.

    Two fields of state, a summed gate, an inner gate, two unsummed ones.
    """

    def inner_state(state, keep, write, read):
        return jnp.tanh(write[1] - read[0]) * state.memory + jax.nn.sigmoid(keep) * state.output

    def update(state, keep, mix, write, read):
        k, (a, b), (c, d) = jax.nn.sigmoid(keep), write, read
        memory = k * state.memory + (1 - k) * jnp.sin(a - 2 * b + mix)
        return MemoryState(output=jnp.tanh(memory * c + d - mix), memory=memory)

    return seqjax.gated_cell(
        "user",
        hidden_size,
        gates=("keep", "mix", "write", "read"),
        unsummed=("write", "read"),
        inner_gates=("mix",),
        inner_state=inner_state,
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


@dataclasses.dataclass(frozen=True, repr=False)
class PlainCell(Cell):
    """A cell that is not pointwise after its product: what its units see is centred."""

    def init(self, key, in_size, dtype=jnp.float32):
        return seqjax.elman(self.hidden_size).init(key, in_size, dtype)

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def project(self, params, xs):
        return seqjax.cells.affine(xs, params.input_kernel, params.bias)

    def step(self, params, state, drive):
        z = drive + seqjax.cells.affine(state.hidden, params.recurrent_kernel)
        return HiddenState(jnp.tanh(z - z.mean(axis=-1, keepdims=True)))


def plain_step(p, state, x):
    (h,) = state
    z = affine(p, x, 0, 1) + recurrent(p, h, 0)
    return (np.tanh(z - z.mean(axis=-1, keepdims=True)),)


def matrix_cell(hidden_size: int) -> Cell:
    """A linear cell with a matrix for a state, one decay a row, and integers as parameters."""

    def init(key, in_size, dtype=jnp.float32):
        keys = jax.random.split(key, 4)
        kernels = [jax.random.normal(k, (in_size, hidden_size), dtype) for k in keys]
        return {
            **dict(zip(("decay", "key", "value", "query"), kernels, strict=True)),
            "order": jnp.arange(hidden_size)[::-1],
        }

    def coefficients(params, xs):
        decay, key, value = (
            seqjax.cells.affine(xs, params[name]) for name in ("decay", "key", "value")
        )
        key = key[..., params["order"]]
        return jax.nn.sigmoid(decay), key[..., :, None] * value[..., None, :2]

    def output(params, hidden, xs):
        query = seqjax.cells.affine(xs, params["query"])[..., :2]
        return (hidden * query[..., None, :]).sum(axis=-1)

    return seqjax.linear_cell(
        "matrix",
        hidden_size,
        init=init,
        coefficients=coefficients,
        output=output,
        state_shape=(hidden_size, 2),
    )


def matrix_step(p, state, x):
    (s,) = state
    decay, key, value = (x @ p[name] for name in ("decay", "key", "value"))
    return (sigmoid(decay)[:, None] * s + np.outer(key[::-1], value[:2]),)


def matrix_output(p, state, x):
    return state[0] @ (x @ p["query"])[:2]


def state_output(p, state, x):
    """What most cells give: the first field of the state."""
    return state[0]


@dataclasses.dataclass(frozen=True)
class Row:
    """A cell of the table, and the executor that runs it.

    Attributes:
      name: the row's name in test ids.
      make: constructor, from the hidden size.
      step: one step in NumPy, `step(params, state, x) -> state` for a single sequence.
      output: the output in NumPy, `output(params, state, x) -> y`.
      known_step: whether another row has a step of the same form, so that the suites of `unroll`
        have nothing new to find.
      unread: fields of the state that no later step reads.
      executor: short name of the executor.
    """

    name: str
    make: Callable[[int], Cell]
    step: Callable[..., tuple]
    output: Callable[..., Any] = state_output
    known_step: bool = False
    unread: tuple[str, ...] = ()
    executor: str = "sequential"

    @functools.cached_property
    def cell(self) -> Cell:
        """The cell with `HIDDEN` units."""
        return self.make(HIDDEN)

    @property
    def id(self) -> str:
        """The name in test ids."""
        return self.name if self.executor == "sequential" else f"{self.name}-{self.executor}"


def _lstm(name, known_step=False, **options):
    return Row(name, functools.partial(seqjax.lstm, **options), lstm_step, known_step=known_step)


ROWS = [
    Row("elman_tanh", seqjax.elman, elman_step(np.tanh)),
    Row(
        "elman_relu",
        functools.partial(seqjax.elman, activation="relu"),
        elman_step(lambda z: np.maximum(z, 0)),
        known_step=True,
    ),
    Row(
        "elman_sigmoid",
        functools.partial(seqjax.elman, activation="sigmoid"),
        elman_step(sigmoid),
        known_step=True,
    ),
    _lstm("lstm", known_step=True),
    _lstm("lstm_learned", learned_initial_state=True),
    _lstm("lstm_chrono", known_step=True, max_timescale=50.0),
    Row("gru", seqjax.gru, gru_after_step),
    Row("gru_reset_before", functools.partial(seqjax.gru, reset_after=False), gru_before_step),
    Row("min_gru", seqjax.min_gru, min_gru_step),
    Row("ind_rnn", seqjax.ind_rnn, ind_rnn_step),
    Row("peephole_lstm", seqjax.peephole_lstm, peephole_lstm_step),
    Row("slstm", functools.partial(seqjax.slstm, heads=2), slstm_step),
    Row("lru", functools.partial(seqjax.lru, state_size=3), lru_step, lru_output),
    Row("rg_lru", functools.partial(seqjax.rg_lru, heads=2), rg_lru_step),
    Row("coupled_lstm", seqjax.coupled_lstm, coupled_lstm_step),
    Row(
        "projected_lstm",
        lambda size: seqjax.projected_lstm(size, memory_size=size),
        projected_lstm_step,
        projected_lstm_output,
    ),
    Row("layer_norm_lstm", seqjax.layer_norm_lstm, layer_norm_lstm_step),
    Row("layer_norm_gru", seqjax.layer_norm_gru, layer_norm_gru_step),
    Row("mgu", seqjax.mgu, mgu_step),
    Row("antisymmetric_rnn", seqjax.antisymmetric_rnn, antisymmetric_rnn_step, known_step=True),
    Row(
        "antisymmetric_rnn_gated",
        functools.partial(seqjax.antisymmetric_rnn, gated=True),
        antisymmetric_rnn_step,
    ),
    Row("leaky_rnn", seqjax.leaky_rnn, leaky_rnn_step, known_step=True),
    Row("leaky_rnn_learned", functools.partial(seqjax.leaky_rnn, learned=True), leaky_rnn_step),
    Row("fast_grnn", seqjax.fast_grnn, fast_grnn_step),
    Row("lem", functools.partial(seqjax.lem, step_size=0.31), lem_step),
    Row("co_rnn", seqjax.co_rnn, co_rnn_step),
    Row("unicornn", seqjax.unicornn, unicornn_step),
    Row("min_lstm", seqjax.min_lstm, min_lstm_step),
    Row("qrnn", functools.partial(seqjax.qrnn, window=3), qrnn_step, unread=("hidden",)),
    Row("s5", functools.partial(seqjax.s5, state_size=6), s5_step, s5_output),
    Row("s6", functools.partial(seqjax.s6, state_size=2), s6_step, s6_output),
    Row(
        "mamba2",
        functools.partial(seqjax.mamba2, state_size=3, heads=2),
        mamba2_step,
        mamba2_output,
    ),
    Row(
        "gla",
        functools.partial(seqjax.gla, heads=2, key_size=3, rank=2, temperature=4.0),
        gla_step,
        gla_output,
    ),
    Row("mlstm", functools.partial(seqjax.mlstm, heads=2), mlstm_step, mlstm_output),
    Row(
        "delta_net",
        # One head: of two, a key of the problem is too short for finite differences.
        functools.partial(seqjax.delta_net, heads=1, negative_eigenvalues=True),
        functools.partial(delta_net_step, True),
        delta_net_output,
    ),
    Row(
        "gated_delta_net",
        functools.partial(seqjax.gated_delta_net, heads=2),
        functools.partial(delta_net_step, False),
        delta_net_output,
    ),
    Row("sru", seqjax.sru, sru_step, sru_output, unread=("reset",)),
    Row("para_gru", seqjax.para_gru, para_gru_step),
    Row("para_lstm", seqjax.para_lstm, para_lstm_step),
    Row("fast_rnn", seqjax.fast_rnn, fast_rnn_step, known_step=True),
    Row("cfc", functools.partial(seqjax.cfc, backbone_size=3), cfc_step),
    Row("ltc", functools.partial(seqjax.ltc, unfolds=2), ltc_step),
    Row("user", user_cell, user_step),
    Row("matrix", matrix_cell, matrix_step, matrix_output),
    Row("plain", PlainCell, plain_step),
]
BY_NAME = {row.name: row for row in ROWS}

# One of each kind - `GatedCell`, plain `Cell`, `LinearCell`, complex, with starts, two of
# `AssociativeCell` - for what no single cell can change.
KINDS = [
    BY_NAME[name]
    for name in ("lstm_learned", "plain", "min_gru", "lru", "rg_lru", "mlstm", "delta_net")
]


def on_executors(rows: list[Row]) -> list[Row]:
    """Returns every row on every executor that accepts its cell."""
    return [
        dataclasses.replace(row, executor=name)
        for row in rows
        for name, executor in seqjax.executors.EXECUTORS.items()
        # The suites ask for states, which `Chunked` leaves to `Sequential`: see test_chunked.py.
        if name != "chunked" and executor().refusal(row.cell) is None
    ]


# One cell for each form of a step: those above, and cells with inner gates, heads, units without a
# product, a row-wise update, a state of its own size, a window, and the cells of the tests.
FORMS = {row.name for row in KINDS} | {
    "gru_reset_before", "ind_rnn", "slstm", "layer_norm_gru", "s6", "qrnn", "user", "matrix",
}  # fmt: skip


# By Newton's method, three forms of Jacobian: dense, one block for each unit, and a plain cell's.
FORMS_OF_NEWTON = {"lstm_learned", "ind_rnn", "plain"}


def as_parameters(rows: list[Row], *more, name="", usual=None):
    """Returns rows as parameters, marked `extended` where another cell stands for them.

    Args:
      rows: the rows.
      *more: further parameters, the same for every row.
      name: what these add to the name of a test.
      usual: ids of the rows that stand for the others; by default one for each form of a step.
    """

    def stands_for_others(row: Row) -> bool:
        if usual is not None:
            return row.id in usual
        return row.name in (FORMS_OF_NEWTON if row.executor == "newton" else FORMS)

    return [
        pytest.param(
            row,
            *more,
            id=f"{row.id}-{name}" if name else row.id,
            marks=() if stands_for_others(row) else pytest.mark.extended,
        )
        for row in rows
    ]


def _parametrize(rows: list[Row]):
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.id)


def _by_form(rows: list[Row]):
    return pytest.mark.parametrize("row", as_parameters(rows))


def own_executors(rows: list[Row]) -> list[Row]:
    """Returns every row on every executor but the plain scan, which few suites need for all."""
    return [row for row in on_executors(rows) if row.executor != "scan"]


STEPS_APART = [row for row in ROWS if not row.known_step]

# Where a program of its own is compiled for each row, these stand for the others: gated cells with
# a backward pass of their own, linear and associative ones, and one that JAX differentiates.
BACKWARD_PASSES = (
    "lstm_learned", "lstm_learned-newton", "user", "min_gru", "min_gru-associative", "lru",
    "mlstm", "mlstm-associative", "plain",
)  # fmt: skip
# And where it is compiled several times.
FEW = ("lstm_learned", "min_gru-associative", "mlstm", "plain")

every_cell = _parametrize(ROWS)
every_form = _by_form(ROWS)
every_step = _by_form(own_executors(STEPS_APART))
every_step_in_sequence = _by_form(STEPS_APART)
every_backward_pass = pytest.mark.parametrize(
    "row", as_parameters(own_executors(STEPS_APART), usual=BACKWARD_PASSES)
)
every_step_both_ways = pytest.mark.parametrize(
    ("row", "reverse"),
    [
        *as_parameters(own_executors(STEPS_APART), False, name="forward"),
        *as_parameters(own_executors(STEPS_APART), True, name="reverse", usual=BACKWARD_PASSES),
    ],
)
every_kind = _parametrize(own_executors(KINDS))
every_kind_in_sequence = _parametrize(KINDS)
few_kinds_in_sequence = pytest.mark.parametrize(
    "row", as_parameters(KINDS, usual=("lstm_learned", "min_gru", "mlstm", "plain"))
)
few_kinds = pytest.mark.parametrize("row", as_parameters(own_executors(KINDS), usual=FEW))
every_step_on_every_executor = _by_form(on_executors(STEPS_APART))
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])


def random_params(cell: Cell, in_size: int = IN, *, seed: int = 0, dtype=jnp.float64) -> Any:
    """Returns parameters of the cell's layout with every leaf random, integers in falling order."""
    rng = np.random.default_rng(seed)
    layout = jax.eval_shape(lambda key: cell.init(key, in_size), jax.random.key(0))

    def draw(leaf):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.arange(leaf.size, dtype=leaf.dtype)[::-1].reshape(leaf.shape)
        return jnp.asarray(0.6 * rng.normal(size=leaf.shape), dtype)

    return jax.tree.map(draw, layout)


def random_state(cell: Cell, params: Any, batch=(BATCH,), *, seed: int = 1, dtype=jnp.float64):
    """Returns a random state of the cell, in every field, that the cell could be in."""
    rng = np.random.default_rng(seed)
    state = cell.initial_state(params, batch, dtype)

    def draw(leaf):
        if leaf.dtype == jnp.bool_:
            return jnp.asarray(rng.random(leaf.shape) < 0.5)
        value = 0.8 * rng.normal(size=leaf.shape)
        if jnp.iscomplexobj(leaf):
            value = value + 0.8j * rng.normal(size=leaf.shape)
        return jnp.asarray(value, leaf.dtype)

    drawn = jax.tree.map(draw, state)
    if isinstance(drawn, SLSTMState):  # a sum of weights is positive
        drawn = drawn._replace(normaliser=0.5 + jnp.abs(drawn.normaliser))
    return drawn


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


EXECUTOR_OPTIONS = ("chunk_size", "residuals", "rematerialise", "truncation", "state_gradient_clip")


def unroll_with(cell, params, xs, *, executor="sequential", **options):
    """`seqjax.unroll` with the options of its executor among the others."""
    own = {name: options.pop(name) for name in EXECUTOR_OPTIONS if name in options}
    if isinstance(executor, str) and executor in seqjax.executors.EXECUTORS:
        executor = seqjax.executors.EXECUTORS[executor](**own)
    return seqjax.unroll(cell, params, xs, executor=executor, **options)


_unroll = jax.jit(
    seqjax.unroll,
    static_argnums=0,
    static_argnames=("reverse", "return_states", "dtype", "carry_dtype", "executor"),
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
    made = seqjax.executors.EXECUTORS[row.executor]
    chunk_size = options.pop("chunk_size", 100)
    has_chunks = any(field.name == "chunk_size" for field in dataclasses.fields(made))
    executor = made(chunk_size=chunk_size) if has_chunks else made()
    options = {"return_states": True, "executor": executor} | options
    arguments = {"lengths": lengths, "mask": mask, "resets": resets} | options
    return in_numpy(unroll(row.cell, params, xs, initial_state=initial_state, **arguments))


WEIGHTS = np.random.default_rng(6).normal(size=(STEPS + 1, BATCH, HIDDEN))


def loss(ys, final):
    """Weighs every output and every number of the final state differently."""
    ends = 0.0
    for k, leaf in enumerate(final):
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            weights = (k + 1) * WEIGHTS[-1][:, : leaf.shape[-1]]
            weights = weights.reshape(weights.shape[0], *(1,) * (leaf.ndim - 2), weights.shape[1])
            # A stabiliser that has seen no step is minus infinity.
            ends += (weights * jnp.where(jnp.isfinite(leaf.real), leaf.real, 0)).sum()
            if jnp.iscomplexobj(leaf):
                ends += (weights[::-1] * leaf.imag).sum()
    return (WEIGHTS[:-1] * ys).sum() + ends


@functools.partial(jax.jit, static_argnums=0, static_argnames=("reverse", "chunk_size"))
def _values_and_gradients(row, params, problem, start, **options):
    def total(params, xs, start):
        result = run(row, params, problem._replace(xs=xs), start, **options)
        return loss(*result[:2]), result

    gradient = jax.grad(total, argnums=(0, 1, 2), has_aux=True, allow_int=True)
    gradients, result = gradient(params, problem.xs, start)
    return result, tuple(only_inexact(tree) for tree in gradients)


def only_inexact(tree):
    """Leaves out the gradients of booleans and integers, which are none."""
    return jax.tree.map(lambda leaf: None if leaf.dtype == jax.dtypes.float0 else leaf, tree)


def real(leaf):
    """Returns a field of a state as real numbers."""
    return leaf.real + leaf.imag if jnp.iscomplexobj(leaf) else leaf


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
    start = jax.device_get(row.cell.initial_state(params, (), jnp.float64))
    params = jax.tree.map(np.asarray, jax.device_get(params))
    steps, batch = len(problem.xs), problem.lengths.shape
    size = problem.lengths.size
    xs, mask, resets = (
        array.reshape(steps, size, *array.shape[1 + len(batch) :])
        for array in (problem.xs, problem.mask, problem.resets)
    )
    states = [np.zeros((steps, size, *leaf.shape), leaf.dtype) for leaf in start]
    final = [np.zeros((size, *leaf.shape), leaf.dtype) for leaf in start]
    ys = np.zeros((steps, size, HIDDEN))
    for b, length in enumerate(problem.lengths.ravel()):
        state = tuple(start)
        if initial_state is not None:
            state = tuple(
                np.asarray(leaf).reshape(size, *own.shape)[b]
                for leaf, own in zip(initial_state, start, strict=True)
            )
        for t in range(steps)[::-1] if reverse else range(steps):
            if resets[t, b]:
                state = tuple(start)
            if t < length and mask[t, b]:
                state = row.step(params, state, xs[t, b])
                ys[t, b] = row.output(params, state, xs[t, b])
            for field, value in zip(states, state, strict=True):
                field[t, b] = value
        for field, value in zip(final, state, strict=True):
            field[b] = value
    return (
        ys.reshape(steps, *batch, HIDDEN),
        tuple(field.reshape((*batch, *field.shape[1:])) for field in final),
        tuple(field.reshape((steps, *batch, *field.shape[2:])) for field in states),
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
