"""Compiles the training step of notebooks/tpu for eight TPU cores that need not be there.

    pip install -e '.[tpu]'
    python scripts/compile_notebook.py --targets=v6e

The notebook's cells are run, at the size meant for a TPU, until its step, a state and a batch are
there; the TPU's compiler then takes the step down to machine code. Refused is a program
without products in bfloat16, one that exchanges anything inside a loop, and one that keeps
a second copy of the state it is given. Exit status 1 if a program is refused, 2 with one line if
the compiler is not installed. "Given away" is the memory of the old state that the new one takes;
kernels are those of compile_accelerators.py.
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from absl import app, flags
from compiled_program import check_exchange, count_kernels
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "tpu.ipynb"
TOPOLOGIES = {"v5e": "v5e:2x4", "v6e": "v6e:2x4"}

FLAGS = flags.FLAGS


def main(_) -> None:
    """Prints a line for each target."""
    if unknown := sorted(set(FLAGS.targets) - set(TOPOLOGIES)):
        refuse(f"unknown target {', '.join(unknown)}; the known ones are {', '.join(TOPOLOGIES)}")
    if importlib.util.find_spec("libtpu") is None:
        refuse("cannot compile for a TPU: its compiler is not installed. pip install 'jax[tpu]'")
    # Nothing is run on a TPU, and none that is there is taken hold of.
    jax.config.update("jax_platforms", "cpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # no question about this machine's own TPU
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("MPLBACKEND", "agg")
    names = run_notebook()
    steps = names["batch"].inputs.shape[1]
    exported = jax.export.export(names["step"].update, platforms=["tpu"])(
        names["state"], names["batch"]
    )
    print(
        f"jax {jax.__version__}; {NOTEBOOK.stem}: {names['units']} units, {steps} steps, "
        f"{names['batch_size']} sequences, {exported.nr_devices} devices",
        flush=True,
    )
    failed = False
    for target in FLAGS.targets:
        try:
            line = measure(target, exported, names["mesh"], names["state"], names["batch"], steps)
        except Exception as error:  # of whatever part of whichever compiler
            failed = True
            line = f"FAILED {type(error).__name__}: {str(error).splitlines()[0]}"
        print(f"{target}: {line}", flush=True)
    sys.exit(int(failed))


def refuse(reason: str) -> NoReturn:
    """Ends with one line for the user."""
    print(f"compile_notebook: {reason}", file=sys.stderr)
    sys.exit(2)


def run_notebook() -> dict[str, Any]:
    """Runs cells of the notebook until its step, a state and a batch are there."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = "".join(cell["source"]).replace("SMALL = True", "SMALL = False")
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, NOTEBOOK.name, "exec"), names)
        if {"step", "state", "batch"} <= set(names):
            return names
    raise RuntimeError(f"{NOTEBOOK} makes no step, state and batch")


def measure(target: str, exported: Any, mesh: Mesh, state: Any, batch: Any, steps: int) -> str:
    """Compiles the program for a target and checks it; returns its row of the table."""
    devices = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGIES[target]).devices
    there = Mesh(np.array(devices), mesh.axis_names, axis_types=mesh.axis_types)

    def described(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=NamedSharding(there, leaf.sharding.spec)
        )

    given = jax.tree.map(described, (state, batch))
    begin = time.perf_counter()
    compiled = jax.jit(exported.call, donate_argnums=0).lower(*given).compile()
    seconds = time.perf_counter() - begin
    text = compiled.as_text() or ""
    check_exchange(text, {"all-reduce"})
    low, products = count_products(text)
    if low < 2:  # of the input and of the state
        raise RuntimeError(f"{low} of {products} products are in bfloat16")
    memory: Any = compiled.memory_analysis()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.params))
    if memory.alias_size_in_bytes < 3 * size:  # parameters and both moments of Adam
        raise RuntimeError(f"only {memory.alias_size_in_bytes} bytes of the state are given away")
    kernels = count_kernels(text)
    return (
        f"compiled in {seconds:.1f} s; {memory.temp_size_in_bytes / 1e6:.1f} MB temporary, "
        f"{memory.alias_size_in_bytes / 1e6:.1f} MB given away; {low} of {products} products in "
        f"bfloat16; kernels: {kernels.forward / steps:.1f} a step forward, "
        f"{kernels.backward / steps:.1f} backward, {kernels.outside} outside"
    )


def count_products(text: str) -> tuple[int, int]:
    """Counts the products whose factors are in bfloat16, and all, in XLA's text of a program."""
    types = dict(re.findall(r"(%\S+) = (\w+)\[", text))
    factors = re.findall(r" (?:convolution|dot)\((%\S+), (%\S+)\)", text)
    return sum({types.get(left), types.get(right)} == {"bf16"} for left, right in factors), len(
        factors
    )


if __name__ == "__main__":
    flags.DEFINE_list("targets", list(TOPOLOGIES), "devices to compile for")
    app.run(main)
