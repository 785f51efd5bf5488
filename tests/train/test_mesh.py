"""Devices: all the cores, the batch split, parameters everywhere or by their columns."""

import ast
import platform
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from fresh import output_of
from jax.sharding import PartitionSpec as P
from marks import with_usual

import seqjax
from seqjax.train import (
    RunError,
    data_mesh,
    make_train_step,
    replicate,
    shard,
    split_batch,
    use_all_cores,
)
from seqjax.train import _cores as cores
from seqjax.train._cores import _usable_cores
from seqjax.train._mesh import check_mesh, layout


def run(code, **env):
    """Runs code where JAX has not started; loads cores.py alone, in a third of the time."""
    load = (
        f"import jax, runpy; use_all_cores = runpy.run_path({cores.__file__!r})['use_all_cores'];"
    )
    return output_of(load + code, PYTHONWARNINGS="error", **env)


def test_use_all_cores_before_jax_starts():
    assert int(run("use_all_cores(); print(jax.device_count())")) == _usable_cores()


@pytest.mark.parametrize(
    "choice",
    [{"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}, {"JAX_NUM_CPU_DEVICES": "3"}],
    ids=lambda choice: next(iter(choice)),
)
def test_use_all_cores_leaves_the_users_choice(choice):
    assert run("use_all_cores(); print(jax.device_count())", **choice).strip() == "3"


def test_use_all_cores_too_late():
    assert jax.device_count() == 2  # tests/conftest.py
    use_all_cores(2)
    with pytest.raises(RuntimeError, match=r"started with 2 CPU device\(s\), 5 wanted"):
        use_all_cores(5)


def test_mesh_takes_the_devices_that_divide_the_batch():
    assert data_mesh().shape["batch"] == 2
    assert data_mesh(batch_size=6).shape["batch"] == 2
    assert data_mesh(batch_size=7).shape["batch"] == 1


def test_no_module_has_a_global_statement():
    """What a call does follows from its arguments."""
    for path in sorted(Path(seqjax.__file__).parent.rglob("*.py")):
        found = [node for node in ast.walk(ast.parse(path.read_text())) if type(node) is ast.Global]
        assert not found, f"{path}:{found[0].lineno}"


def test_a_description_holds_for_one_mesh_alone():
    assert dict(data_mesh(4, "1x2").shape) == {"batch": 1, "hidden": 2}
    assert dict(data_mesh(4, "time2").shape) == {"batch": 1, "time": 2}
    assert dict(data_mesh(4, "2xtime1").shape) == {"batch": 2, "time": 1}
    assert dict(data_mesh(4).shape) == {"batch": 2}
    with pytest.raises(RunError, match="needs 3 devices"):
        data_mesh(4, "3x1")
    assert dict(data_mesh(4).shape) == {"batch": 2}


def test_check_mesh():
    for shape in ("auto", "members", "batch", "64x3", "time9", "3xtime5"):  # whatever the devices
        check_mesh(shape)
    for wrong in ("4x", "time", "time0", "time2x4", "2xtime", "xtime2"):
        with pytest.raises(RunError, match="must be auto, members, batch, BATCHxHIDDEN such as"):
            check_mesh(wrong)


def parts(tree):
    """The shape of a device's part of each array, by its path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.addressable_shards[
            0
        ].data.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def mean_square(outputs):
    return jnp.mean(outputs**2), {"weight": jnp.ones(())}


def kernels_of(state):
    """Parts of all kernels in a state, of parameters, moments and average alike."""
    found = parts(state._replace(key=None))
    return {path: shape for path, shape in found.items() if "kernel" in path}


OPTIMIZERS = {
    "adam": (optax.adam(0.1), 2),
    "clipped": (optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1)), 2),
    "hyperparameters": (optax.inject_hyperparams(optax.adam)(learning_rate=0.1), 2),
    "momentum": (optax.sgd(0.1, momentum=0.9), 1),
    "masked": (optax.masked(optax.adam(0.1), lambda p: jax.tree.map(lambda x: x.ndim > 1, p)), 2),
}

every_optimizer = pytest.mark.parametrize(
    "name",
    with_usual(OPTIMIZERS, OPTIMIZERS.keys() - {"hyperparameters"}),
)


@every_optimizer
def test_moments_are_split_like_kernels_of_layers(name):
    """Variables say how they are split; what an optimiser keeps of them follows."""
    optimizer, moments = OPTIMIZERS[name]
    structure, params = nnx.split(seqjax.nn.Bidirectional(seqjax.gru(4), 3, rngs=nnx.Rngs(0)))

    def loss(params, key, batch):
        return mean_square(nnx.merge(structure, params)(batch))

    step = make_train_step(loss, optimizer, ema_decay=0.9, mesh=data_mesh(4, "1x2"))
    state = step.init(params, jax.random.key(0))
    updated, _ = step.update(step.init(params, jax.random.key(0)), jnp.ones((4, 5, 3)))
    for each in (state, updated):
        kernels = kernels_of(each)
        assert len(kernels) == 4 * (2 + moments)
        assert all(
            shape == (3 if "input_kernel" in path else 4, 6) for path, shape in kernels.items()
        )
        assert all(
            shape in {(), (12,), (4,)} for path, shape in parts(each).items() if path not in kernels
        )


@every_optimizer
def test_moments_are_split_like_kernels_in_plain_pytrees(name):
    optimizer, moments = OPTIMIZERS[name]
    cell = seqjax.lstm(4)
    params = {"head": jnp.ones((4, 2)), "layer": cell.init(jax.random.key(0), 3)}
    partition = {"head": P(), "layer": cell.partition(params["layer"])}

    def loss(params, key, batch):
        return mean_square(seqjax.unroll(cell, params["layer"], batch)[0] @ params["head"])

    step = make_train_step(
        loss, optimizer, ema_decay=0.9, mesh=data_mesh(4, "1x2"), partition=partition
    )
    state = step.init(params, jax.random.key(0))
    updated, _ = step.update(step.init(params, jax.random.key(0)), jnp.ones((5, 4, 3)))
    for each in (state, updated):
        kernels = kernels_of(each)
        assert len(kernels) == 2 * (2 + moments)
        assert all(
            shape == (3 if "input_kernel" in path else 4, 8) for path, shape in kernels.items()
        )
        assert all(shape == (4, 2) for path, shape in parts(each).items() if "head" in path)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        (P(), P()),
        (P(None, "hidden"), P()),  # 5 columns cannot be halved
        (P("hidden"), P("hidden")),
        (P("hidden", "model"), P("hidden", None)),  # no such axis
        (P(("batch", "hidden")), P(("batch", "hidden"))),
        (P(None, None, "hidden"), P()),
    ],
)
def test_what_cannot_be_split_is_whole(spec, found):
    params = np.zeros((4, 5))
    made = layout(data_mesh(2, "1x2"), {"mu": params, "count": np.zeros(())}, params, spec)
    assert made["mu"].spec == found
    assert made["count"].spec == P()


def test_another_structure_is_refused():
    step = make_train_step(None, optax.sgd(0.1), partition={"v": P()})
    with pytest.raises(ValueError, match=r"`partition` must have the structure of the parameters"):
        step.init({"w": np.zeros(2)}, jax.random.key(0))


def test_shard_and_replicate():
    devices = data_mesh()
    x = np.arange(12).reshape(4, 3)
    split, whole = shard(devices, {"x": x})["x"], replicate(devices, x)
    assert [s.data.shape for s in split.addressable_shards] == [(2, 3), (2, 3)]
    assert [s.data.shape for s in whole.addressable_shards] == [(4, 3), (4, 3)]
    np.testing.assert_array_equal(split, x)
    np.testing.assert_array_equal(whole, x)


@pytest.mark.parametrize("shape", [(3, 2), ()])
def test_shard_refuses(shape):
    with pytest.raises(ValueError, match=r"multiple of 2 devices, got shape .* at batch\['x'\]"):
        shard(data_mesh(), {"x": np.zeros(shape)})


def test_split_batch():
    split = split_batch({"x": np.ones((6, 3)), "lengths": np.arange(6)})
    assert [part.data.shape for part in split["x"].addressable_shards] == [(3, 3), (3, 3)]
    assert len(split_batch(np.ones((5, 3))).addressable_shards) == 1  # 5 is odd
    np.testing.assert_array_equal(split["lengths"], np.arange(6))


@pytest.mark.parametrize("batch", [{}, {"x": np.ones((4, 2)), "y": np.ones(3)}, np.float32(1)])
def test_split_batch_refuses(batch):
    with pytest.raises(ValueError, match=r"of the same size, got .* Put the batch first"):
        split_batch(batch)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_use_all_cores_keeps_the_memory_of_a_step():
    """A block as large as the last one is not fetched from the system page by page again."""
    code = """
import ctypes, resource
use_all_cores(2)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(ctypes.c_size_t(2**26))
    ctypes.memset(block, 1, 2**26)
    libc.free(block)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    first, second = map(int, run(textwrap.dedent(code)).split())
    assert first > 1000 > 100 > second


def test_as_many_threads_as_devices_at_least():
    """A device that waits for the others keeps its thread."""
    many = _usable_cores() + 2
    code = f"use_all_cores({many}); import os; print(os.environ['NPROC'])"
    assert run(code).strip() == str(many)
