"""Figures of what was trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.gradient_flow import canvas
from experiments.gradient_flow.config import Config
from experiments.gradient_flow.tasks import make_task, window_floor
from experiments.gradient_flow.train_tasks import Clipped, Learnt
from experiments.gradient_flow.training import updates_to_threshold


def draw_training(
    config: Config, learnt: Sequence[Learnt], clipped: Clipped | None, folder: Path
) -> None:
    """Writes every figure of training.

    Args:
      config: the settings.
      learnt: from `training_jobs`.
      clipped: from `clipping_job`, if it was run.
      folder: where the figures go.
    """
    if learnt:
        draw_learning(config, learnt, folder / "learning.png")
        draw_thresholds(config, learnt, folder / "thresholds.png")
    if clipped is not None:
        draw_clipping(config, clipped, folder / "clipping.png")


def draw_learning(config: Config, learnt: Sequence[Learnt], path: Path) -> None:
    """Draws test losses against updates, a panel a task, with chance and threshold."""
    figure, axes = canvas.panels(len(config.trained_tasks), columns=2, share_y="none")
    figure.set_size_inches(4.8 * len(axes) + 0.4, 4.2)
    for axis, name in zip(axes, config.trained_tasks, strict=True):
        task = make_task(config, name)
        mine = [each for each in learnt if each.task == name]
        for color, each in canvas.colored(mine):
            canvas.band(
                axis, each.training.updates, each.training.test_losses,
                quantiles=(0, 1), color=color, label=each.label,
            )  # fmt: skip
        axis.axhline(task.chance, color=canvas.INK, linestyle="--", linewidth=1, label="chance")
        if name == "adding":
            floor = window_floor(config.adding_length, config.window)
            label = f"best of {config.window} steps"
            axis.axhline(floor, color=canvas.GREY, linestyle="-.", linewidth=1, label=label)
        axis.axhline(
            config.threshold * task.chance,
            color=canvas.INK, linestyle=":", linewidth=1, label="threshold",
        )  # fmt: skip
        axis.set_yscale("log")
        size = config.adding_length if name == "adding" else config.copying_delay
        length = f"T = {size}" if name == "adding" else f"delay {size}"
        canvas.name(axis, f"{name}, {length}", "updates", f"test loss ({task.unit})")
        canvas.legend_below(axis, 3, gap=0.16)
    figure.suptitle("Learning: median and range over seeds", x=0.01, ha="left", fontsize=11)
    canvas.save(figure, path)


def draw_thresholds(config: Config, learnt: Sequence[Learnt], path: Path) -> None:
    """Draws the updates to threshold, a point a seed, and the share of seeds that got there."""
    figure, axes = canvas.panels(len(config.trained_tasks), columns=2, share_y="row")
    figure.set_size_inches(4.8 * len(axes) + 0.4, 3.4)
    labels = list(dict.fromkeys(each.label for each in learnt))
    for axis, name in zip(axes, config.trained_tasks, strict=True):
        threshold = config.threshold * make_task(config, name).chance
        for each in learnt:
            if each.task != name:
                continue
            place = len(labels) - 1 - labels.index(each.label)
            first = updates_to_threshold(each.training, threshold)
            got = np.isfinite(first)
            apart = np.linspace(0.2, -0.2, len(first)) if len(first) > 1 else np.zeros(1)
            color = canvas.COLORS[labels.index(each.label) % len(canvas.COLORS)]
            axis.plot(first[got], (place + apart)[got], "o", color=color, markersize=4)
            axis.annotate(
                f"{got.sum()} of {len(first)}",
                (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8,
            )  # fmt: skip
        axis.set_yticks(range(len(labels)), labels[::-1])
        axis.set_ylim(-0.6, len(labels) - 0.4)
        axis.set_xlim(0, config.steps * 1.03)
        share = f"{config.threshold:g} of chance"
        canvas.name(
            axis, f"{name}: test loss below {share}", "updates (at the right: seeds that got there)"
        )
    figure.suptitle("Updates to threshold, a point a seed", x=0.01, ha="left", fontsize=11)
    canvas.save(figure, path)


def draw_clipping(config: Config, clipped: Clipped, path: Path) -> None:
    """Draws loss and gradient norm of the exploding network, with clipping and without."""
    figure, (losses, norms) = canvas.panels(2, columns=2, share_y="none")
    figure.set_size_inches(10, 3.6)
    for color, label, training in (
        (canvas.COLORS[1], "not clipped", clipped.unclipped),
        (canvas.COLORS[0], f"clipped at {config.clip_norm:g}", clipped.clipped),
    ):
        for axis, values in ((losses, training.train_losses), (norms, training.grad_norms)):
            for number, of_seed in enumerate(values):
                axis.plot(
                    np.arange(1, len(of_seed) + 1), np.where(np.isfinite(of_seed), of_seed, np.nan),
                    color=color, linewidth=0.8, alpha=0.7, label=None if number else label,
                )  # fmt: skip
    chance = make_task(config, "adding").chance
    losses.axhline(chance, color=canvas.INK, linestyle="--", linewidth=1, label="chance")
    norms.axhline(
        config.clip_norm, color=canvas.INK, linestyle=":", linewidth=1, label="clipping norm"
    )
    canvas.name(losses, "Training loss", "updates", "mean squared error")
    canvas.name(norms, "Gradient norm before clipping", "updates", "norm")
    for axis in (losses, norms):
        axis.set_yscale("log")
        canvas.legend(axis)
    figure.suptitle(
        f"Adding, rnn with spectral radius {config.clip_radius:g}, gradient descent: a line a seed",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    canvas.save(figure, path)
