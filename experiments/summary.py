"""One page a colleague can read: what was run, what came out, how to do it again."""

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from seqjax.train._files import plain, replace_file
from seqjax.train._run_folder import RunFolder

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "seqjax")


def versions() -> dict[str, str]:
    """The versions of Python and of every package that can change a number.

    Returns:
      Name to version.

    Example:
      >>> versions()["jax"] == jax.__version__
      True
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a source tree
            found[name] = "not installed"
    return found


def devices() -> dict[str, Any]:
    """The devices JAX computes on.

    Returns:
      The platform, the kind of device and their number.

    Example:
      >>> sorted(devices())
      ['count', 'kind', 'platform']
    """
    first = jax.devices()[0]
    return {"platform": first.platform, "kind": first.device_kind, "count": jax.device_count()}


def write_summary(run: RunFolder, result: Mapping[str, Any], *, command: str) -> Path:
    """Writes summary.md from a run's config.json and figures, and what its result.json will hold.

    Args:
      run: a run that is done.
      result: as `RunFolder.write_result` takes it.
      command: shell command that reproduces it.

    Returns:
      The path of summary.md.
    """
    result = plain(result)
    metrics, seeds, whose = result["metrics"], result["seeds"], result["whose"]
    generated = str(result["dataset"]).startswith("generated")
    first = run.config.get("seed", 0)
    parts = [
        f"# {result['experiment']}: {result['cell']} on {result['dataset']}",
        f"{_digits(result['num_params'])} parameters, {_count(seeds, 'seed')}, "
        f"{_epochs(result['epochs_run'])}, {result['wall_s']:.0f} s "
        f"on {_devices(result['devices'])}.",
        *(["**No real data: everything here was generated.**"] if generated else []),
        "## Result",
        _table(
            ["metric", "whose", "mean", "95 % interval"],
            [
                [name, whose.get(name, "-"), _number(m["mean"]), _interval(m["ci95"])]
                for name, m in metrics.items()
            ],
        ),
        "Mean and Student's t interval over the seeds, within the bounds of the metric."
        if seeds > 1
        else "One seed: no interval can be given.",
    ]
    if result["floors"]:
        floors = [[name, _number(value)] for name, value in result["floors"].items()]
        parts += ["Baselines:", _table(["baseline", "value"], floors)]
    parts += [
        "## Seeds",
        _table(
            ["seed", *metrics],
            [
                [str(number), *(_number(m["per_seed"][i]) for m in metrics.values())]
                for i, number in enumerate(range(first, first + seeds))
            ],
        ),
    ]
    parts += [
        f"![{figure.stem}]({figure.relative_to(run.path).as_posix()})"
        for figure in sorted(run.figures.glob("*.png"))
    ]
    parts += [
        "## To reproduce",
        f"```sh\n{command}\n```",
        _table(["package", "version"], [list(item) for item in result["versions"].items()]),
        f"Data {_hash(result['data_sha256'])}, parameters {_hash(result['params_sha256'])}; every "
        "setting is in [config.json](config.json), every number in [result.json](result.json).",
    ]
    path = run.path / "summary.md"
    replace_file(path, "\n\n".join(parts) + "\n")
    return path


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _interval(ci95: list[float | None]) -> str:
    return "-" if None in ci95 else f"{_number(ci95[0])} to {_number(ci95[1])}"


def _digits(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _epochs(epochs_run: Any) -> str:
    if isinstance(epochs_run, list):
        return f"{', '.join(map(str, epochs_run))} epochs"
    return _count(epochs_run, "epoch")


def _devices(devices: Any) -> str:
    if isinstance(devices, Mapping):
        return f"{devices['count']} x {devices['kind']}"
    return str(devices)


def _hash(sha256: Any) -> str:
    if isinstance(sha256, list):
        return ", ".join(_hash(each) for each in sha256)
    return f"`{str(sha256)[:12]}`"
