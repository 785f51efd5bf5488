"""Every test runs with warnings as errors and without silent rank promotion."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Before JAX starts: two CPU devices, so that the sharded paths run as users run them, threads to
# spare for devices that wait for each other (see seqjax.train.use_all_cores), and the quickest
# compilation there is, since tests compile for longer than they run. Together the last four halve
# the time of a file that does little else.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    " --xla_cpu_opt_preset=CPU_OPT_PRESET_FAST_COMPILE --xla_cpu_parallel_codegen_split_count=1"
    # Newer versions refuse this flag.
    + " --xla_cpu_use_fusion_emitters=false"
    * version("jaxlib").startswith("0.10."),
)
os.environ.setdefault("NPROC", "8")

import hypothesis
import jax
import pytest
from quick import QUICK

jax.config.update("jax_numpy_rank_promotion", "raise")

# The same examples on every run and machine; compilation makes single examples slow.
hypothesis.settings.register_profile(
    "seqjax",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("seqjax")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    """Marks the quick tests; turns warnings into errors, also of a dependency.

    The mark stands before a test's own `filterwarnings`, which therefore have the last word.
    """
    quick = {f"tests/{name}" for names in QUICK.values() for name in names}
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("error"), append=False)
        test = item.nodeid.partition("[")[0]
        wanted = quick & {test, test.partition("::")[0]}
        if wanted and not item.get_closest_marker("extended"):
            item.add_marker("quick")


@pytest.fixture
def x64():
    """Lets a test compute in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Forgets compiled programs before their number ends the process.

    XLA maps memory for each program, and Linux allows a process 65,530 maps. A compilation that
    gets none ends the process without a word. Programs are shared within a file only.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.is_file() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
        gc.collect()
