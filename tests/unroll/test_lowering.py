"""Every executor lowers for GPU and TPU: no part of a program needs the host it was written on.

What is lowered is checked, too: loops over time stay loops, and nothing is called that is not part
of the portable set of operations. `scripts/compile_accelerators.py` goes on to machine code.
"""

import re

import jax
import jax.numpy as jnp
import optax
import pytest
from cell_table import BATCH, BY_NAME, HIDDEN, IN, MemoryState, unroll_with

import seqjax
from seqjax import train
from seqjax.cells import GatedCell

PLATFORMS = ("cuda", "tpu")
STEPS = 23  # the chunks of 4 leave a rest, the segments of 8 too

EXECUTORS = {
    "gates": {"residuals": "gates"},
    "states": {"residuals": "states"},
    "boundaries": {"residuals": "boundaries"},
    "scan": {"executor": "scan"},
    "scan_boundaries": {"executor": "scan", "rematerialise": True},
    "truncation": {"truncation": (3, 5)},
    "clipped": {"state_gradient_clip": 1.0},
}
CELLS = ("elman_tanh", "lstm_learned", "gru", "gru_reset_before", "min_gru", "user", "plain")
# One gated cell, one linear one and one that JAX differentiates; of the linear one, whose loops are
# as plain as the last one's, a single program.
USUAL = {
    "lstm_learned": ("gates", "states", "boundaries", "truncation"),
    "min_gru": ("boundaries",),
    "plain": ("scan", "scan_boundaries", "clipped"),
}
CASES = [
    pytest.param(
        name,
        executor,
        marks=() if executor in USUAL.get(name, ()) else pytest.mark.extended,
    )
    for name in CELLS
    for executor in EXECUTORS
    # Only a gated cell has a choice of what is kept; the last two act on any cell alike.
    if (executor not in ("gates", "states") or isinstance(BY_NAME[name].cell, GatedCell))
    and (executor not in ("clipped", "truncation") or name in ("lstm_learned", "plain"))
]


def shapes(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def arguments(cell, steps=STEPS):
    """Parameters, input, lengths and resets, as shapes."""
    params = jax.eval_shape(lambda key: cell.init(key, IN), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((steps, BATCH, IN), jnp.float32)
    lengths = jax.ShapeDtypeStruct((BATCH,), jnp.int32)
    return params, xs, lengths, jax.ShapeDtypeStruct((steps, BATCH), bool)


def programs(cell, **options):
    """Returns the forward pass and the gradient as functions of `arguments`."""

    def forward(params, xs, lengths, resets):
        return unroll_with(cell, params, xs, lengths=lengths, resets=resets, **options)

    def gradient(params, xs, lengths, resets):
        def loss(params, xs):
            ys, final = forward(params, xs, lengths, resets)
            return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves((ys, final)))

        return jax.grad(loss, (0, 1))(params, xs)

    return forward, gradient


def lowered(program, *args) -> dict[str, str]:
    """Lowers a program for every platform; returns the texts.

    `jax.export` refuses what is not known to mean the same elsewhere, callbacks and custom calls
    of a single platform among them.
    """
    texts, program = {}, jax.jit(program)  # traced once
    for platform in PLATFORMS:
        exported = jax.export.export(program, platforms=[platform])(*args)
        assert exported.platforms == (platform,)
        texts[platform] = exported.mlir_module()
    return texts


def custom_calls(text: str) -> set[str]:
    return set(re.findall(r"stablehlo\.custom_call @(\S+?)\(", text))


def num_loops(text: str) -> int:
    return text.count("stablehlo.while")


@pytest.mark.parametrize(("name", "executor"), CASES, ids=lambda value: value)
def test_lowers(name, executor):
    cell = BY_NAME[name].cell
    forward, gradient = programs(cell, reverse=True, chunk_size=4, **EXECUTORS[executor])
    args = arguments(cell)
    for platform, text in lowered(forward, *args).items():
        assert not custom_calls(text), platform
        assert num_loops(text) >= 1, platform
    for platform, text in lowered(gradient, *args).items():
        assert not custom_calls(text), platform
        assert num_loops(text) >= 2, platform  # one there and one back


@pytest.mark.parametrize("executor", ["auto", "scan"])
def test_low_precision_stays_low(executor):
    """With bfloat16 the products that an accelerator is fast at are in bfloat16, forward."""
    cell = BY_NAME["lstm"].cell
    forward, _ = programs(cell, dtype=jnp.bfloat16, executor=executor)
    for text in lowered(forward, *arguments(cell)).values():
        products = re.findall(r"stablehlo\.dot_general.* : \((.*?)\) ->", text)
        assert products
        for operands in products:
            assert len(re.findall(r"xbf16>", operands)) == 2


def test_a_callback_would_be_seen():
    """What these tests look for is there to be found where a cell does call the host."""

    def update(state, gate):
        doubled = jax.pure_callback(lambda z: 2 * z, gate, gate, vmap_method="expand_dims")
        return MemoryState(doubled, state.memory)

    cell = seqjax.gated_cell("host", HIDDEN, gates=("gate",), update=update, state=MemoryState)
    forward, _ = programs(cell)
    with pytest.raises(ValueError, match=r"platform|custom call|callback"):
        lowered(forward, *arguments(cell))


@pytest.mark.parametrize("name", ["lstm", "gru_reset_before", "plain"])
def test_training_step_over_devices(name):
    """The batch comes in split over the devices, and the parameters whole."""
    mesh = train.data_mesh(4)
    if mesh.size < 2:
        pytest.skip("needs two devices; tests/conftest.py asks for them on a CPU")
    cell = BY_NAME[name].cell

    def loss(params, key, xs):
        ys, _ = unroll_with(cell, params, jnp.swapaxes(xs, 0, 1), chunk_size=4)
        return (ys**2).mean(), {"weight": jnp.asarray(len(xs))}

    step = train.make_train_step(loss, optax.adam(1e-3), mesh=mesh)
    state = step.init(cell.init(jax.random.key(0), IN), jax.random.key(1))
    batch = train.shard(mesh, jnp.zeros((4, STEPS, IN)))
    for platform in PLATFORMS:
        exported = jax.export.export(step.update, platforms=[platform])(state, batch)
        assert exported.platforms == (platform,)
        assert exported.nr_devices == mesh.size
        assert num_loops(exported.mlir_module()) >= 2
        *of_state, of_batch = exported.in_shardings_jax(mesh)
        assert of_batch.shard_shape(batch.shape) == (4 // mesh.size, STEPS, IN)
        assert all(sharding.is_fully_replicated for sharding in of_state)
        assert all(sharding.is_fully_replicated for sharding in exported.out_shardings_jax(mesh))
