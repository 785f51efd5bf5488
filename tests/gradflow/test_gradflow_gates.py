"""Gates: pre-activations, saturation, retention, time-scales, against the NumPy equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import (
    BY_NAME,
    HIDDEN,
    affine,
    problem,
    random_params,
    random_state,
    recurrent,
    sigmoid,
)

from experiments.gradient_flow.measure import activation_histogram
from seqjax import gradflow

pytestmark = pytest.mark.usefixtures("x64")


def run(name):
    """Returns the cell, its parameters, its input, and what the NumPy step says of every state."""
    row = BY_NAME[name]
    params, xs = random_params(row.cell), problem().xs
    states, state = [], [np.asarray(leaf) for leaf in row.cell.initial_state(params)]
    numbers = jax.tree.map(np.asarray, params)
    for x in xs[:, 0]:
        states.append(state)
        state = row.step(numbers, state, x)
    return row.cell, params, jnp.asarray(xs), numbers, states


def test_lstm():
    cell, params, xs, p, states = run("lstm")
    forget = np.stack(
        [affine(p, x, 1, 4) + recurrent(p, s[0], 1) for x, s in zip(xs[:, 0], states, strict=True)]
    )
    options = {"functions": {"candidate": jnp.tanh, "input": None}}
    z, gates, kept = jax.jit(
        lambda params, xs: (
            gradflow.gate_preactivations(cell, params, xs),
            gradflow.gate_activations(cell, params, xs, **options),
            gradflow.retention(cell, params, xs),
        )
    )(params, xs)
    assert set(gates) == {"forget", "candidate", "output"}
    np.testing.assert_allclose(z["forget"][:, 0], forget, rtol=1e-12)
    np.testing.assert_allclose(gates["forget"][:, 0], sigmoid(forget), rtol=1e-12)
    np.testing.assert_allclose(gates["candidate"], np.tanh(z["candidate"]), rtol=1e-12)
    np.testing.assert_allclose(kept.cell, gates["forget"], rtol=1e-12)
    assert (kept.hidden == 0).all()


def test_gru():
    """The candidate is unsummed: its two parts, and no activation of its own."""
    cell, params, xs, p, states = run("gru")
    z = gradflow.gate_preactivations(cell, params, xs[:, 0])
    drive, passed = z["candidate"]
    for t, (x, (h,)) in enumerate(zip(xs[:, 0], states, strict=True)):
        np.testing.assert_allclose(drive[t], affine(p, x, 2, 3), rtol=1e-12)
        np.testing.assert_allclose(passed[t], recurrent(p, h, 2) + p.recurrent_bias, rtol=1e-12)
    gates = gradflow.gate_activations(cell, params, xs[:, 0])
    assert list(gates) == ["update", "reset"]
    kept = gradflow.retention(cell, params, xs[:, 0]).hidden
    np.testing.assert_allclose(kept, 1 - gates["update"], rtol=1e-12)


def test_gru_with_its_reset_before():
    """The candidate sees the state that the reset gate lets through."""
    cell, params, xs, p, states = run("gru_reset_before")
    z = gradflow.gate_preactivations(cell, params, xs[:, 0])
    for t, (x, (h,)) in enumerate(zip(xs[:, 0], states, strict=True)):
        r = sigmoid(affine(p, x, 1, 3) + recurrent(p, h, 1))
        expected = affine(p, x, 2, 3) + recurrent(p, r * h, 2)
        np.testing.assert_allclose(z["candidate"][t], expected, rtol=1e-12)
    gates = gradflow.gate_activations(cell, params, xs[:, 0], functions={"candidate": jnp.tanh})
    assert list(gates) == ["update", "reset", "candidate"]
    kept = gradflow.retention(cell, params, xs[:, 0]).hidden
    np.testing.assert_allclose(kept, 1 - gates["update"], rtol=1e-12)


def test_retention_of_other_cells():
    cell, params, xs, p, _ = run("min_gru")
    kept = gradflow.retention(cell, params, xs).hidden
    np.testing.assert_allclose(kept, 1 - sigmoid(affine(p, np.asarray(xs), 0, 2)), rtol=1e-12)
    cell, params, xs, _, _ = run("elman_tanh")
    assert (gradflow.retention(cell, params, xs).hidden == 0).all()
    cell, params, xs, p, states = run("ind_rnn")
    kept = gradflow.retention(cell, params, xs).hidden[:, 0]
    u = p.units["recurrent"]
    for t, (h,) in enumerate(states):
        active = affine(p, np.asarray(xs[t, 0]), 0, 1) + u * h > 0
        np.testing.assert_allclose(kept[t], u * active, rtol=1e-12)


def test_retention_of_a_complex_decay():
    """It is the decay itself; its size says how long a unit remembers."""
    cell, params, xs, p, _ = run("lru")
    kept = gradflow.retention(cell, params, xs).hidden
    decay = np.exp(-np.exp(p["decay_log"]) + 1j * np.exp(p["phase_log"]))
    np.testing.assert_allclose(kept, np.broadcast_to(decay, kept.shape), rtol=1e-12)
    np.testing.assert_allclose(gradflow.time_scale(kept[0, 0]), np.exp(-p["decay_log"]), rtol=1e-10)


def test_retention_where_sequences_start():
    """Nothing is kept at the first step of an RG-LRU; a state carried over has had its first."""
    cell, params, xs, p, _ = run("rg_lru")
    kept = gradflow.retention(cell, params, xs)
    assert kept.fresh is None
    assert (kept.hidden[0] == 0).all()
    x = np.asarray(xs) @ p["input_kernel"]
    parts = [x[..., :2] @ p["gate_kernel"][0][:, :2], x[..., 2:] @ p["gate_kernel"][1][:, :2]]
    gate = sigmoid(np.concatenate(parts, axis=-1) + p["gate_bias"][:HIDDEN])
    expected = np.exp(-8 * gate * np.log1p(np.exp(p["decay"])))
    np.testing.assert_allclose(kept.hidden[1:], expected[1:], rtol=1e-10)
    start = random_state(cell, params)._replace(fresh=jnp.zeros(xs.shape[1], bool))
    kept = gradflow.retention(cell, params, xs, initial_state=start)
    np.testing.assert_allclose(kept.hidden, expected, rtol=1e-10)


def test_slstm_with_heads():
    cell, params, xs, p, states = run("slstm")
    z = gradflow.gate_preactivations(cell, params, xs)
    kept = gradflow.retention(cell, params, xs)
    for t, (h, _, _, m) in enumerate(states):
        parts = [h[2 * head : 2 * head + 2] @ p.recurrent_kernel[head] for head in range(2)]
        i, f = (
            affine(p, np.asarray(xs[t, 0]), gate, 4)
            + np.concatenate([part[2 * gate : 2 * gate + 2] for part in parts])
            for gate in range(2)
        )
        np.testing.assert_allclose(z["input"][t, 0], i, rtol=1e-12)
        np.testing.assert_allclose(z["forget"][t, 0], f, rtol=1e-12)
        decayed = np.log(sigmoid(f)) + m
        keep = np.exp(decayed - np.maximum(decayed, i))
        np.testing.assert_allclose(kept.cell[t, 0], keep, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(kept.normaliser[t, 0], keep, rtol=1e-10, atol=1e-15)


def test_preactivations_without_a_recurrent_product():
    cell, params, xs, p, _ = run("ind_rnn")
    z = gradflow.gate_preactivations(cell, params, xs)["hidden"]
    np.testing.assert_allclose(z, affine(p, np.asarray(xs), 0, 1), rtol=1e-12)


def test_saturation_and_histogram():
    values = np.random.default_rng(0).uniform(size=(50, 3, HIDDEN))
    left, right = gradflow.saturation(values, axis=(0, 1))
    np.testing.assert_allclose(left, (values < 0.1).mean((0, 1)))
    np.testing.assert_allclose(right, (values > 0.9).mean((0, 1)))
    fractions, edges = activation_histogram(values, bins=10)
    expected, expected_edges = np.histogram(values, bins=10, range=(0, 1))
    np.testing.assert_allclose(fractions, expected / values.size)
    np.testing.assert_allclose(edges, expected_edges)


def test_time_scale():
    tau = gradflow.time_scale(np.array([np.exp(-1 / 20), 0.0, 1.0, 1.5, -0.5]))
    np.testing.assert_allclose(tau, [20, 0, np.inf, np.inf, 1 / np.log(2)])


def test_refuses():
    plain = BY_NAME["plain"].cell
    params, xs = random_params(plain), jnp.asarray(problem().xs)
    with pytest.raises(ValueError, match=r"must be a GatedCell.*got a PlainCell.*\.gated_cell"):
        gradflow.gate_preactivations(plain, params, xs)
    with pytest.raises(ValueError, match=r"GatedCell or a LinearCell.*diagonal of step_jacobians"):
        gradflow.retention(plain, params, xs)
    cell = BY_NAME["gru"].cell
    with pytest.raises(ValueError, match=r"\('update', 'reset'\), got \['candidate'\]"):
        gradflow.gate_activations(cell, random_params(cell), xs, functions={"candidate": jnp.tanh})
    with pytest.raises(ValueError, match=r"below `high`, got 0\.9 and 0\.1"):
        gradflow.saturation(jnp.ones(3), low=0.9, high=0.1)
