"""What `use_all_cores` does to memory and threads, in a process of its own as a user has it."""

import os
import sys

import pytest
from fresh import output_of, run

from seqjax.train import _cores as cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is set is Linux's")
FAULTS = """
import resource, jax, jax.numpy as jnp, seqjax
from seqjax import train

train.use_all_cores(2)
# 50 steps of 400 sequences keep some 100 MiB a device for the way back.
cell = seqjax.lstm(64)
params = cell.init(jax.random.key(0), 16)
mesh = train.data_mesh(800)
jax.set_mesh(mesh)
by_batch = jax.sharding.PartitionSpec(None, "batch")
xs = jax.device_put(jnp.ones((50, 800, 16)), jax.sharding.NamedSharding(mesh, by_batch))
gates = seqjax.executors.Sequential(residuals="gates")

@jax.jit
@jax.grad
def step(params):
    ahead, _ = seqjax.unroll(cell, params, xs, executor=gates)
    back, _ = seqjax.unroll(cell, params, xs, reverse=True, executor=gates)
    return (ahead * back).sum()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(step(params))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(step.lower(params).compile().memory_analysis().temp_size_in_bytes, end=" ")
print(*[faults() for _ in range(5)])
"""


@pytest.mark.extended
def test_the_memory_of_a_step_is_there_for_the_next():
    temporary, *faults = map(int, output_of(FAULTS).split())
    assert temporary > 2**26  # a device's memory for a step is more than an arena
    # Of 4 KiB pages, were they touched anew. The first calls fill the arenas.
    assert min(faults[2:]) < temporary / 4096 / 10, faults


LONG = """
import jax, jax.numpy as jnp, seqjax
from seqjax import train

train.use_all_cores(2)
# Buffers of 39 MiB, larger than a block.
cell = seqjax.min_gru(8)
params = cell.init(jax.random.key(0), 8)
jax.jit(jax.grad(lambda p, xs: seqjax.unroll(cell, p, xs)[0].sum())).lower(
    params, jax.ShapeDtypeStruct((40_000, 32, 8), jnp.float32)
).compile()
"""


@pytest.mark.extended
def test_the_compiler_does_not_warn_of_large_buffers():
    lines = run(LONG).stderr.splitlines()
    assert not [line for line in lines if "larger than the per-heap size limit" in line], lines[:3]


def test_a_flag_that_xla_does_not_know_is_not_set(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.setattr(cores, "_BLOCK_FLAG", "xla_no_such_flag")
    cores._keep_freed_memory()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"


def test_flags_of_the_user_stay(monkeypatch):
    monkeypatch.setattr(cores, "_may_have_accelerator", lambda: False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    cores._keep_freed_memory()
    assert os.environ["XLA_FLAGS"].startswith("--xla_cpu_enable_fast_math=false --xla_multiheap")
    cores._keep_freed_memory()
    assert os.environ["XLA_FLAGS"].count("--") == 2


POLICIES = """
import os
{choice}
import jax, jax.numpy as jnp
from seqjax import train

train.use_all_cores(2)
jax.block_until_ready(jax.jit(lambda x: x @ x)(jnp.ones((300, 300))))
for thread in os.listdir("/proc/self/task"):
    if open(f"/proc/self/task/{{thread}}/comm").read() == "tf_XLAEigen\\n":
        print(os.sched_getscheduler(int(thread)))
"""


@pytest.mark.extended
@pytest.mark.parametrize(
    "choice", ["", "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"]
)
def test_threads_of_products_take_no_core_by_waking_up(choice):
    policies = output_of(POLICIES.format(choice=choice)).split()
    wanted = os.SCHED_IDLE if choice else os.SCHED_BATCH
    assert policies == [str(wanted)] * 2


def test_no_policy_is_set_where_there_may_be_an_accelerator(monkeypatch):
    monkeypatch.setattr(cores, "_may_have_accelerator", lambda: True)
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_OTHER)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: pytest.fail("a policy was set"))
    cores._keep_cores()
