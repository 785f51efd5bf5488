"""Compiles a recurrent layer for accelerators that need not be there.

    pip install 'jax[cuda13-local]' 'nvidia-cuda-nvcc>=13,<14' 'nvidia-nvvm>=13,<14' 'jax[tpu]'
    python scripts/compile_accelerators.py --targets=h200,v6e --cells=lstm

The whole compiler runs, down to machine code, for a described device. For every target and cell our
executor stands beside the plain scan, forward alone and with the gradient of parameters and input:

- seconds to compile;
- MB of temporary memory; on a TPU what fits its vector memory is not counted;
- kernels a time step: instructions of the compiled loops (fusions, products, copies, custom calls),
  each as often as its loop runs it, over the steps, forward and backward apart;
- kernels outside the loops.

Each is a launch on a GPU, and a piece of one program on a TPU. With `--devices=4` the batch is
split over four of them, which must add up their gradients outside the loops and exchange nothing
else. Exit status 1 if something does not compile, 2 with one line if the wheels for a target are
not installed.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from compiled_program import check_exchange, count_kernels
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import seqjax
from seqjax.cells._registry import CELLS

# The device as XLA wants it described: an H200 with 132 multiprocessors.
H200 = """
platform_name: "CUDA" device_description_str: "NVIDIA H200"
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 feature_extension: ACCELERATED_FEATURES }
  name: "NVIDIA H200" device_vendor: "NVIDIA Corporation" device_address_bits: 64
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  device_memory_size: 150754820096 memory_bandwidth: 4800000000000 l2_cache_size: 52428800
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.12.0"
}
dnn_version_info { major: 9 minor: 12 patch: 0 }
"""

CUDA_WHEELS = "pip install 'jax[cuda13-local]' 'nvidia-cuda-nvcc>=13,<14' 'nvidia-nvvm>=13,<14'"
TPU_WHEELS = "pip install 'jax[tpu]'"
# A TPU topology is never less than a host's chips.
TOPOLOGIES = {
    "h200": {"platform": "cuda", "target_config": H200, "topology": "1x1x4"},
    "v5e": {"platform": "tpu", "topology_name": "v5e:2x2"},
    "v6e": {"platform": "tpu", "topology_name": "v6e:2x2"},
}
EXECUTORS = {"ours": "auto", "scan": "scan"}

FLAGS = flags.FLAGS
flags.DEFINE_list("targets", list(TOPOLOGIES), "devices to compile for")
flags.DEFINE_list("cells", ["rnn", "lstm", "gru"], "cells, names as for seqjax.make_cell")
flags.DEFINE_integer("steps", 200, "time steps", lower_bound=1)
flags.DEFINE_integer("batch", 64, "sequences", lower_bound=1)
flags.DEFINE_integer("in_size", 128, "features of a step", lower_bound=1)
flags.DEFINE_integer("hidden_size", 128, "hidden units", lower_bound=1)
flags.DEFINE_enum("devices", "1", ["1", "4"], "devices that share the batch")
flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "dtype of the products")


def main(_) -> None:
    """Prints a line for each program."""
    if unknown := sorted(set(FLAGS.targets) - set(TOPOLOGIES)):
        refuse(f"unknown target {', '.join(unknown)}; the known ones are {', '.join(TOPOLOGIES)}")
    if unknown := sorted(set(FLAGS.cells) - set(CELLS)):
        refuse(f"unknown cell {', '.join(unknown)}; the known ones are {', '.join(CELLS)}")
    for target in FLAGS.targets:
        if reason := missing(target):
            refuse(f"cannot compile for {target}: {reason}")
    leave_devices_alone()
    print(
        f"jax {jax.__version__}; {FLAGS.steps} steps, {FLAGS.batch} sequences, {FLAGS.in_size} "
        f"features, {FLAGS.hidden_size} units, {FLAGS.dtype}, {FLAGS.devices} device(s)\n"
        "target  cell      pass      executor  compiled  temporary  kernels/step:  forward  "
        "backward  outside",
        flush=True,
    )
    failed = False
    for target in FLAGS.targets:
        devices = topologies.get_topology_desc(**TOPOLOGIES[target]).devices[: int(FLAGS.devices)]
        for cell in FLAGS.cells:
            for name, gradient in (("forward", False), ("gradient", True)):
                for executor in EXECUTORS:
                    label = f"{target:6}  {cell:8}  {name:8}  {executor:8}"
                    try:
                        line = measure(devices, cell, EXECUTORS[executor], gradient)
                    except Exception as error:  # of whatever part of whichever compiler
                        failed = True
                        line = f"FAILED  {type(error).__name__}: {str(error).splitlines()[0]}"
                    print(f"{label}  {line}", flush=True)
    if failed:
        sys.exit(1)


def leave_devices_alone() -> None:
    """Nothing is run, and no accelerator that is there is taken hold of."""
    jax.config.update("jax_platforms", "cpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # no question about this machine's own TPU
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")


def refuse(reason: str) -> None:
    """Ends with one line for the user."""
    print(f"compile_accelerators: {reason}", file=sys.stderr)
    sys.exit(2)


def missing(target: str) -> str | None:
    """Returns what has to be installed before a target can be compiled for, or None."""
    cuda = TOPOLOGIES[target]["platform"] == "cuda"
    if found("jax_plugins.xla_cuda13" if cuda else "libtpu"):
        return None
    return f"its compiler is not installed. {CUDA_WHEELS if cuda else TPU_WHEELS}"


def found(module: str) -> bool:
    """Returns whether a module is installed, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def measure(devices: Sequence[Any], name: str, executor: str, gradient: bool) -> str:
    """Compiles one program; returns its row of the table."""
    cell = seqjax.make_cell(name, FLAGS.hidden_size)
    mesh = Mesh(np.array(devices), ("batch",), axis_types=(AxisType.Auto,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    split = NamedSharding(mesh, PartitionSpec(None, "batch"))
    params = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
        jax.eval_shape(lambda key: cell.init(key, FLAGS.in_size), jax.random.key(0)),
    )
    shape = FLAGS.steps, FLAGS.batch, FLAGS.in_size
    xs = jax.ShapeDtypeStruct(shape, jnp.dtype(FLAGS.dtype), sharding=split)

    def outputs(params, xs):
        return seqjax.unroll(cell, params, xs, executor=executor)[0]

    def pulled_back(params, xs):
        ys, pull = jax.vjp(outputs, params, xs)
        return pull(ys)

    begin = time.perf_counter()
    results = (everywhere, split) if gradient else split
    program = jax.jit(pulled_back if gradient else outputs, out_shardings=results)
    # The mesh of a training step, by which `unroll` splits the batch.
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        compiled = program.lower(params, xs).compile()
    seconds = time.perf_counter() - begin
    text = compiled.as_text() or ""
    check_exchange(text, {"all-reduce"} if gradient and len(devices) > 1 else set())
    kernels = count_kernels(text)
    if not kernels.forward or (gradient and not kernels.backward):
        raise RuntimeError("no loop over time was found in the compiled program")
    memory = compiled.memory_analysis()
    temporary = "unknown" if memory is None else f"{memory.temp_size_in_bytes / 1e6:.1f} MB"
    backward = f"{kernels.backward / FLAGS.steps:8.1f}" if gradient else " " * 8
    return (
        f"{seconds:6.1f} s  {temporary:>9}  {'':12}  {kernels.forward / FLAGS.steps:8.1f}  "
        f"{backward}  {kernels.outside:7}"
    )


if __name__ == "__main__":
    app.run(main)
