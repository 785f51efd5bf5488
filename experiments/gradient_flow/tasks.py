"""The two tasks that are trained, and what costs nothing to reach on them."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from experiments.gradient_flow.config import Config
from seqjax import data
from seqjax.data._adding import ADDING_CHANCE
from seqjax.data._copying import copying_chance


class Task(NamedTuple):
    """A task without end: every batch is new.

    Attributes:
      name: "adding" or "copying".
      draw: `draw(rng, number) -> Sequences`.
      loss: `loss(outputs, targets) -> scalar`.
      in_size: features of a step.
      out_size: outputs a step.
      length: steps of a sequence.
      chance: the loss of knowing the task and remembering nothing.
      unit: what the loss is.
    """

    name: str
    draw: Callable[[np.random.Generator, int], data.Sequences]
    loss: Callable[[Array, Array], Array]
    in_size: int
    out_size: int
    length: int
    chance: float
    unit: str


def make_task(config: Config, name: str) -> Task:
    """Makes a task by its name."""
    if name == "adding":
        return Task(
            name,
            lambda rng, number: data.adding(rng, number, config.adding_length),
            lambda outputs, targets: ((outputs[:, -1] - targets) ** 2).mean(),
            in_size=2,
            out_size=1,
            length=config.adding_length,
            chance=ADDING_CHANCE,
            unit="mean squared error",
        )

    def cross_entropy(outputs: Array, targets: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets).mean()

    example = data.copying(np.random.default_rng(0), 1, config.copying_delay)
    return Task(
        name,
        lambda rng, number: data.copying(rng, number, config.copying_delay),
        cross_entropy,
        in_size=example.inputs.shape[-1],
        out_size=9,  # eight symbols and the blank
        length=example.inputs.shape[1],
        chance=copying_chance(config.copying_delay),
        unit="cross-entropy a step, nats",
    )


def window_floor(length: int, window: int) -> float:
    """Returns the least squared error on the adding problem from its last `window` steps alone.

    The first mark is never among them, the second with probability `p`; what is not seen
    costs the variance of a uniform number:

        1/12 + (1 - p)/12,    p = window / (length - length // 2)

    Args:
      length: steps of the problem.
      window: steps that are seen, at most half.

    Returns:
      The error.

    Example:
      >>> round(window_floor(60, 15), 4), window_floor(60, 0) == data.ADDING_CHANCE
      (0.125, True)
    """
    return 1 / 12 + (1 - window / (length - length // 2)) / 12


def draw_chunk(
    task: Task, seed: int, number: int, updates: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the batches of some updates, which seed and number of the chunk decide.

    Returns:
      Inputs (updates, B, T, D) and targets (updates, B, ...).
    """
    drawn = task.draw(np.random.default_rng([seed, 1, number]), updates * batch_size)
    shape = (updates, batch_size)
    return (
        drawn.inputs.reshape(*shape, *drawn.inputs.shape[1:]),
        drawn.targets.reshape(*shape, *drawn.targets.shape[1:]),
    )


def draw_test(task: Task, size: int) -> data.Sequences:
    """Draws the test set, the same for every seed and network."""
    return task.draw(np.random.default_rng([2]), size)


def as_arrays(sequences: data.Sequences) -> tuple[Array, Array]:
    """Returns inputs and targets on the device."""
    return jnp.asarray(sequences.inputs), jnp.asarray(sequences.targets)
