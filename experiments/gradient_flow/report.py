"""What a run says before it starts, and the page it leaves."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import summary
from experiments.gradient_flow.config import Config
from experiments.gradient_flow.grid import shared_programs
from seqjax import train
from seqjax.train._files import plain, replace_file

CAPTIONS = {
    "gradient_norms": "Gradient norm against lag at initialisation.",
    "family": "Log-slope of the input's gradient at initialisation, every cell of the library.",
    "singular_values": "Singular values of products of Jacobians.",
    "lyapunov": "Lyapunov spectra.",
    "gates": "Activations of the gates, and time-scales.",
    "truncation": "Truncated back-propagation against the full gradient.",
    "online": "Online gradients against the full gradient.",
    "learning": "Test loss against updates, chance dashed.",
    "thresholds": "Updates to threshold and success rate.",
    "clipping": "Exploding gradients with clipping and without.",
}


def preview(config: Config, path: Path) -> str:
    """Says what the run will do.

    Args:
      config: the settings.
      path: the run folder.

    Returns:
      Several lines of text.
    """
    devices, points = summary.devices(), config.points
    programs = len(shared_programs(points))
    networks = len(config.train_points) + 1
    return "\n".join([
        f"measure   {len(points)} cells and initialisations at lengths "
        f"{', '.join(map(str, config.measured_lengths))}, {config.seeds} seeds; "
        f"{programs * (1 + len(config.measured_lengths))} compiled programs",
        f"train     {networks} networks on {', '.join(config.trained_tasks) or 'nothing'}, "
        f"{config.steps} updates of {config.train_batch_size} sequences, {config.seeds} seeds",
        f"devices   {devices['count']} x {devices['kind']}",
        f"run       {path}",
        "",
    ])  # fmt: skip


def command(config: Config) -> str:
    """Returns the command that repeats a run: the settings that differ from the defaults."""
    parts = ["python", "-m", "experiments.gradient_flow"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            parts.append(f"--{field.name}={value}")
    return shlex.join(parts)


def write_summary(
    folder: train.RunFolder, result: Mapping[str, Any], config: Config, findings: list[str]
) -> Path:
    """Writes summary.md: the findings first, then the figures and every number.

    Args:
      folder: a run that is done.
      result: as `RunFolder.write_result` takes it.
      config: its settings.
      findings: paragraphs, from `findings`.

    Returns:
      The path of summary.md.
    """
    result = plain(result)
    devices = result["devices"]
    rows = [
        f"| {name} | {_number(metric['mean'])} | {_interval(metric['ci95'])} |"
        for name, metric in result["metrics"].items()
    ]
    floors = [f"| {name} | {_number(value)} |" for name, value in result["floors"].items()]
    drawn = sorted(folder.figures.glob("*.png"), key=lambda file: list(CAPTIONS).index(file.stem))
    parts = [
        f"# Gradient flow: {result['cell']}",
        f"{config.hidden_size} hidden units, {result['seeds']} seeds, {result['wall_s']:.0f} s on "
        f"{devices['count']} x {devices['kind']}. In brackets: 95 % intervals over seeds "
        "(Student's t).",
        "## What was found",
        *findings,
        "## Figures",
        *(f"![{CAPTIONS[file.stem]}](figures/{file.name})" for file in drawn),
        "## Numbers",
        "\n".join(["| baseline | value |", "| --- | ---: |", *floors]),
        "\n".join(["| metric | mean | 95 % interval |", "| --- | ---: | ---: |", *rows]),
        "## To reproduce",
        f"```sh\n{command(config)}\n```",
        "Every setting is in [config.json](config.json), every number and each seed's in "
        "[result.json](result.json), the raw arrays in [arrays.npz](arrays.npz).",
    ]
    path = folder.path / "summary.md"
    replace_file(path, "\n\n".join(parts) + "\n")
    return path


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"


def _interval(ci95: list[float | None]) -> str:
    return "-" if None in ci95 else f"{_number(ci95[0])} to {_number(ci95[1])}"
