"""The live probe, and the figures."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import BY_NAME, KINDS, STEPS, as_parameters, problem, random_params

import seqjax
from seqjax import gradflow

step_jacobians = jax.jit(gradflow.step_jacobians, static_argnums=0)
ROWS = [*KINDS, *(BY_NAME[name] for name in ("ind_rnn", "peephole_lstm", "slstm"))]


@pytest.mark.parametrize("row", as_parameters(ROWS, usual=("lstm_learned", "plain")))
def test_probe(row):
    """Flat, finite, and the same numbers as the measures one by one."""
    cell, xs = row.cell, jnp.asarray(problem().xs, jnp.float32)
    params = {"cell": random_params(cell, dtype=jnp.float32), "head": jnp.ones(4)}

    def loss(params, batch):
        return (seqjax.unroll(cell, params["cell"], batch)[0] @ params["head"]).sum()

    probe = gradflow.make_probe(
        cell, xs, inputs=lambda params, xs: (params["cell"], xs), loss=loss, depth=1
    )
    metrics = probe(params)
    # The gradient of a rectified unit is zero once it is off: nothing is left at the first step.
    dead = {"log_ratio"} if row.name == "ind_rnn" else set()
    json.dumps({k: v for k, v in metrics.items() if k not in dead}, allow_nan=False)
    assert all(isinstance(value, float) for value in metrics.values())
    norms = gradflow.gradient_norms(jax.jit(jax.grad(loss))(params, xs), depth=1)
    assert metrics["gradient_norm/head"] == pytest.approx(float(norms["head"]), rel=1e-5)
    assert metrics["gradient_norm/all"] > metrics["gradient_norm/cell"] > 0
    jacobian = np.asarray(step_jacobians(cell, params["cell"], xs)[-1, 0])
    expected = np.abs(np.linalg.eigvals(jacobian)).max()
    assert metrics["jacobian/spectral_radius"] == pytest.approx(expected, rel=1e-3)
    assert ("recurrent/forget/sigma" in metrics) == (row.name.partition("_")[0] in FORGETTING)
    assert ("time_scale/hidden" in metrics) == (row.name not in ("plain", "mlstm", "delta_net"))
    names = {name.partition("/")[2] for name in metrics if name.startswith("log_slope/")}
    assert names == {field for field in fields(row) if field != "fresh"}
    if row.name in ("lru", "rg_lru"):
        kept = np.abs(gradflow.retention(cell, params["cell"], xs).hidden).mean(axis=(0, 1))
        assert metrics["time_scale/hidden"] == pytest.approx(np.median(-1 / np.log(kept)), rel=1e-4)


FORGETTING = ("lstm", "peephole", "slstm")


def fields(row):
    """Returns the names of the fields of a row's state."""
    return row.cell.initial_state(random_params(row.cell, dtype=jnp.float32))._fields


def test_probe_of_padded_batches():
    """What stands in the padding is of no account."""
    cell, xs = BY_NAME["lstm"].cell, problem().xs.astype(np.float32)
    params = random_params(cell, dtype=jnp.float32)
    lengths = np.array([3, STEPS, 1, 5, 2])
    probe = gradflow.make_probe(cell, (xs, lengths), inputs=lambda params, batch: (params, *batch))
    clean = probe(params)
    for b, length in enumerate(lengths):
        xs[length:, b] = np.nan
    same = gradflow.make_probe(cell, (xs, lengths), inputs=lambda params, batch: (params, *batch))
    assert same(params) == clean
    short = step_jacobians(cell, params, xs[:3, :1])[-1, 0]
    assert clean["jacobian/sigma"] == pytest.approx(np.linalg.norm(short, 2), rel=1e-5)


def test_probe_refuses():
    with pytest.raises(ValueError, match=r"must be None for a cell without gates, got \['z'\]"):
        gradflow.make_probe(seqjax.min_gru(3), jnp.ones((3, 1)), functions={"z": jnp.tanh})


def test_plots(tmp_path):
    rng = np.random.default_rng(0)
    norms = np.exp(-0.1 * np.arange(40)[::-1, None] + 0.3 * rng.normal(size=(40, 16)))
    norms[0] = 0  # has no place on a logarithmic axis
    summary = gradflow.summarise_norms(norms)
    gradflow.plot_gradient_norms({"hidden": summary}, tmp_path / "figures" / "norms.png")
    logs = -np.arange(1, 41)[:, None] * np.array([0.02, 0.1, 0.3])
    gradflow.plot_singular_values(logs, tmp_path / "singular.png")
    gradflow.plot_lyapunov({"lstm": rng.normal(size=(3, 8))}, tmp_path / "lyapunov.png")
    gates = {"forget": rng.uniform(size=100), "input": rng.uniform(size=100)}
    gradflow.plot_saturation(gates, tmp_path / "saturation.png")
    shown = gradflow.plot_saturation(gates)  # without a path nothing is written
    assert [axes.get_title("left") for axes in shown.axes] == ["forget", "input"]
    for path in tmp_path.rglob("*.png"):
        assert path.read_bytes()[:4] == b"\x89PNG"
    assert len(list(tmp_path.rglob("*.png"))) == 4
    with pytest.raises(ValueError, match=r"\(K, N\), got \(3,\)"):
        gradflow.plot_singular_values(np.ones(3), tmp_path / "a.png")
    for plot in (gradflow.plot_gradient_norms, gradflow.plot_lyapunov, gradflow.plot_saturation):
        with pytest.raises(ValueError, match="at least one labelled entry"):
            plot({}, tmp_path / "a.png")
