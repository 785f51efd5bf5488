"""A Flax model as pure functions of its parameters, and the recurrent layers of the experiments."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

import seqjax
from experiments.cells import FEEDFORWARD, directions, make_cell
from experiments.newton import executor_of
from seqjax import train
from seqjax.data._ragged_sequences import RaggedBatches


class Functions(NamedTuple):
    """A model as pure functions of its parameters.

    Attributes:
      init: `init(key) -> params`, jitted.
      apply: `apply(params, batch, key=None)`, what the model says of a batch; with a key as in
        training, with dropout.
      summary: table of the layers and their parameters.
      num_params: number of parameters.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[..., Any]
    summary: str
    num_params: int


def make_functions(
    build: Callable[[nnx.Rngs], Any], call: Callable[[Any, Any, jax.Array | None], Any]
) -> Functions:
    """Returns a model as pure functions of its parameters.

    Args:
      build: `build(rngs) -> model`.
      call: `call(model, batch, key)`, what the model says of a batch; key is None outside training.

    Returns:
      The functions. No number is drawn until `init` is called.
    """
    described = {}

    def describe() -> None:  # traced for its shapes alone
        model = build(nnx.Rngs(0))
        described["structure"] = nnx.graphdef(model)
        described["summary"] = seqjax.nn.summary(model)
        described["num_params"] = seqjax.nn.num_params(model)

    jax.eval_shape(describe)
    structure = described.pop("structure")

    @jax.jit
    def init(key: jax.Array) -> Any:
        return nnx.state(build(nnx.Rngs(params=key)))

    def apply(params: Any, batch: Any, key: jax.Array | None = None) -> Any:
        return call(nnx.merge(structure, params), batch, key)

    return Functions(init, apply, **described)


def make_answers(
    apply: Callable[[Any, Any], Any], mesh: Mesh
) -> Callable[[Any, RaggedBatches], list[Any]]:
    """Returns `answers(params, batches)`: what is said of each sequence, in their own order.

    Args:
      apply: `apply(params, batch)`, an array or several, batch first, such as a model's.
      mesh: the devices.

    Returns:
      The function; its answers are arrays without the batch axis, padding included.
    """
    jitted = jax.jit(apply)

    def answers(params: Any, batches: RaggedBatches) -> list[Any]:
        rows = []
        for batch in batches:
            found = train.fetch(jitted(params, train.shard(mesh, batch)))
            real = range(int(batch.weights.sum()))  # rows that fill stand last
            rows += [jax.tree.map(lambda leaf, row=row: leaf[row], found) for row in real]
        return [rows[place] for place in np.argsort(batches.order)]

    return answers


def recurrent_layers(
    config: Any,
    in_size: int,
    rngs: nnx.Rngs,
    *,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    both: bool = False,
    window: tuple[int, int] = (0, 0),
    executor: Any = None,
    **options: Any,
) -> Any:
    """Returns the recurrent layer of an experiment, or a stack of them.

    Args:
      config: the settings; of them `num_layers`, too, where none is given.
      in_size: features of the input.
      rngs: gives the keys of the initialisers.
      hidden_size: hidden units of a layer and direction, instead of what the settings say.
      num_layers: how many layers, instead of what the settings say.
      both: whether the layers run in both directions whatever the name of the cell says.
      window: steps before and after the present one that feed-forward layers see.
      executor: how the layers run in time, instead of what the settings say.
      **options: keyword arguments of the cell's constructor, unless `cell_options` has them.

    Returns:
      The module.
    """
    layers: list[Any] = []
    units: int = hidden_size or config.hidden_size
    executor = executor_of(config) if executor is None else executor
    both = both or directions(config.cell)[1]
    layer = seqjax.nn.Bidirectional if both else seqjax.nn.RNN
    for index in range(num_layers or config.num_layers):
        if config.cell == FEEDFORWARD:
            before, after = (0, 0) if index else window  # the lowest alone looks around
            layers.append(seqjax.nn.TDNN(in_size, units, before=before, after=after, rngs=rngs))
            in_size = units
            continue
        cell = make_cell(config, units, **options)
        layers.append(layer(cell, in_size, executor=executor, rngs=rngs))
        in_size = layers[-1].out_size
    return layers[0] if len(layers) == 1 else seqjax.nn.Stack(layers, dropout=config.dropout)
