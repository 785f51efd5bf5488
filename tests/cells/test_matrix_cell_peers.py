"""Cells with a matrix for a state against their authors' code; skipped where that is missing.

`pip install mlstm-kernels` brings the one, `pip install --no-deps fla-core einops` and PyTorch the
others. Of `fla` single files are read: the package needs a GPU to be imported.
"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import random_params, sigmoid, softplus, unit

import seqjax

STEPS, BATCH, HEADS, SIZE = 64, 2, 2, 4
EXECUTORS = ("sequential", "associative")
unrolled = jax.jit(seqjax.unroll, static_argnums=0, static_argnames="executor")


def naive(name: str):
    """Returns the module `fla.ops.<name>.naive` without importing `fla`."""
    pytest.importorskip("torch", reason="the code of fla needs PyTorch")
    pytest.importorskip("einops", reason="the code of fla needs einops")
    package = importlib.util.find_spec("fla")
    if package is None or package.origin is None:
        pytest.skip("fla-core is not installed")
    path = Path(package.origin).parent / "ops" / name / "naive.py"
    spec = importlib.util.spec_from_file_location(f"naive_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def problem(cell):
    """Parameters and inputs in float32, and the outputs of the cell by head, in float64."""
    params = random_params(cell, dtype=jnp.float32)
    xs = np.random.default_rng(0).normal(size=(STEPS, BATCH, 3)).astype(np.float32)
    outputs = {
        executor: np.float64(unrolled(cell, params, xs, executor=executor)[0])
        for executor in EXECUTORS
    }
    return jax.tree.map(np.float64, params), np.float64(xs), outputs


def by_head(x, first="time"):
    """Returns (T, B, H) as (B, T, heads, size), or (B, heads, T, size)."""
    x = x.reshape(STEPS, BATCH, HEADS, -1)
    return x.transpose((1, 0, 2, 3) if first == "time" else (1, 2, 0, 3))


def check(got, outputs, first="time"):
    for ys in outputs.values():
        np.testing.assert_allclose(by_head(ys, first), got, rtol=2e-4, atol=2e-4)


def silu(x):
    return x * sigmoid(x)


def units(x):
    """What the cell calls `silu(x) / |silu(x)|`, by head."""
    return np.apply_along_axis(unit, -1, x)


def delta_parts(params, xs, first="time"):
    import torch

    parts = np.split(xs @ params["input_kernel"], [HEADS * SIZE, 2 * HEADS * SIZE], axis=-1)
    key, value = (by_head(part, first) for part in parts[:2])
    query, rate = by_head(xs @ params["read_kernel"], first), by_head(sigmoid(parts[2]), first)
    return [torch.tensor(x) for x in (units(query), units(key), silu(value), rate[..., 0])]


def test_mlstm_equals_mlstm_kernels():
    """In their parallel form, which scales queries where the cell scales keys."""
    fw = pytest.importorskip("mlstm_kernels.jax.parallel.native.fw")
    params, xs, outputs = problem(seqjax.mlstm(HEADS * SIZE, heads=HEADS))
    key, value = np.split(xs @ params["input_kernel"] + params["input_bias"], 2, axis=-1)
    query, gate = np.split(xs @ params["read_kernel"] + params["read_bias"], 2, axis=-1)
    gates = np.split(xs @ params["gate_kernel"] + params["gate_bias"], 2, axis=-1)
    arrays = [by_head(x, "heads") for x in (query, key, value)]
    arrays += [by_head(x, "heads")[..., 0] for x in gates]
    with jax.numpy_rank_promotion("allow"):
        got = fw.mlstm_parallel_fw(*(jnp.asarray(x, jnp.float32) for x in arrays), eps=0.0)
    got = got[0] if isinstance(got, tuple) else got
    check(got * sigmoid(by_head(gate, "heads")), outputs, "heads")


def test_gla_equals_fla():
    torch = pytest.importorskip("torch")
    recurrence = naive("gla").naive_recurrent_gla
    cell = seqjax.gla(HEADS * SIZE, heads=HEADS, key_size=3)
    params, xs, outputs = problem(cell)
    key, value = np.split(xs @ params["input_kernel"], [HEADS * 3], axis=-1)
    low = xs @ params["decay_in_kernel"] @ params["decay_out_kernel"] + params["decay_bias"]
    arrays = xs @ params["read_kernel"], key, value, np.log(sigmoid(low)) / 16
    got, _ = recurrence(*(torch.tensor(by_head(x)) for x in arrays))
    check(got.numpy(), outputs)


def test_delta_net_equals_fla():
    recurrence = naive("delta_rule").delta_rule_recurrence
    params, xs, outputs = problem(seqjax.delta_net(HEADS * SIZE, heads=HEADS))
    got, _ = recurrence(*delta_parts(params, xs, "heads"))
    check(got.numpy(), outputs, "heads")


def test_gated_delta_net_equals_fla():
    torch = pytest.importorskip("torch")
    recurrence = naive("gated_delta_rule").naive_recurrent_gated_delta_rule
    params, xs, outputs = problem(seqjax.gated_delta_net(HEADS * SIZE, heads=HEADS))
    step = softplus(xs @ params["decay_kernel"] + params["step_bias"])
    log_decay = torch.tensor(by_head(-np.exp(params["decay_log"]) * step)[..., 0])
    got, *_ = recurrence(*delta_parts(params, xs), log_decay)
    check(got.numpy(), outputs)
