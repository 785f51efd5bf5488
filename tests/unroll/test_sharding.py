"""A batch split over devices stays split: no device ever gathers the others' part."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import BY_NAME

import seqjax
from seqjax import train

# A gated cell, a linear one and one that JAX differentiates, and their other executors.
USUAL = ("lstm", "min_gru", "plain", "lstm scan", "min_gru associative")


@pytest.mark.parametrize(
    ("batch", "name"),
    [
        pytest.param(
            batch,
            name,
            marks=() if name in USUAL[: 5 if batch == (4,) else 1] else pytest.mark.extended,
        )
        for batch in ((4,), (4, 3))
        for name in (*USUAL, "gru", "gru_reset_before", "lru", "slstm")
    ],
)
def test_no_device_gathers_the_batch(batch, name):
    mesh = train.data_mesh(batch[0])
    if mesh.size < 2:
        pytest.skip("needs two devices; tests/conftest.py asks for them on a CPU")
    name, _, executor = name.partition(" ")
    cell = BY_NAME[name].make(6)
    params = train.replicate(mesh, cell.init(jax.random.key(0), 3))
    xs = jax.random.normal(jax.random.key(1), (*batch, 9, 3))  # batch first, as a user has it

    def loss(params, xs):
        ys, _ = seqjax.unroll(cell, params, jnp.moveaxis(xs, -2, 0), executor=executor or "auto")
        return (ys**2).sum()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    sharded = train.shard(mesh, xs)
    with jax.set_mesh(mesh):  # says that the batch is split
        compiled = gradient.lower(params, sharded).compile().as_text()
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in compiled
    # Devices add their gradients once, behind the loops: each wait inside one costs a step's time.
    loops = [part for part in re.split(r"\n(?=%|ENTRY)", compiled) if not part.startswith("ENTRY")]
    assert "all-reduce" in compiled
    assert not any(re.search(r" all-reduce(-start)?\(", part) for part in loops)
    for one, two in zip(
        jax.tree.leaves(gradient(*jax.device_put((params, xs), jax.devices()[0]))),
        jax.tree.leaves(gradient(params, sharded)),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
