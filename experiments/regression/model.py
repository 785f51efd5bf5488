"""The models of the regression experiment: recurrent layers, wired to what a task asks."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

import seqjax
from experiments.regression.config import Config
from experiments.regression.task import Scales, Task, last_observed
from seqjax import data, train


class Functions(NamedTuple):
    """A model as pure functions of its parameters.

    Attributes:
      init: `init(key) -> params`.
      apply: `apply(params, batch, key=None)`: predictions of the shape of the targets, in the
        task's own units; of classes their logits.
      summary: table of the layers and their parameters.
      num_params: number of parameters.
    """

    init: Any
    apply: Any
    summary: str
    num_params: int


class ReadOut(nnx.Module):
    """Dropout, a ReLU layer where one is wanted, dropout, and a linear layer."""

    def __init__(self, in_size: int, out_size: int, head_size: int, dropout: float, rngs: nnx.Rngs):
        """Makes the layers."""
        self.hidden = nnx.Linear(in_size, head_size, rngs=rngs) if head_size else None
        self.out = nnx.Linear(head_size or in_size, out_size, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        """Maps (..., in_size) to (..., out_size)."""
        if self.hidden is not None:
            x = jax.nn.relu(self.hidden(self._dropped(x, key)))
            key = None if key is None else jax.random.fold_in(key, 1)
        return self.out(self._dropped(x, key))

    def _dropped(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        return x if key is None else self.dropout(x, deterministic=False, rngs=key)


class SequenceRegressor(nnx.Module):
    """Recurrent layers and a read-out, at every step or at the last one."""

    def __init__(self, config: Config, in_size: int, out_shape: tuple[int, ...], *, rngs: nnx.Rngs):
        """Makes the layers."""
        self.recurrent = recurrent_layers(config, in_size, rngs)
        out_size = int(np.prod(out_shape))
        self.head = ReadOut(
            self.recurrent.out_size, out_size, config.head_size, config.dropout, rngs
        )
        self.every_step = config.model == "steps"
        self.out_shape = out_shape

    def __call__(self, xs: jax.Array, lengths: Any, key: jax.Array | None = None) -> jax.Array:
        """Maps (B, T, D) to (B, *out_shape), or with an answer at every step (B, T, *out_shape)."""
        keys = (None, None) if key is None else jax.random.split(key)
        ys, state = self.recurrent(xs, lengths=lengths, return_state=True, key=keys[0])
        ys = ys if self.every_step else self.recurrent.last_output(state)
        ys = self.head(ys, keys[1])
        return ys.reshape(*ys.shape[:-1], *self.out_shape)


class SegmentForecaster(nnx.Module):
    """Forecasts every variable for itself, segment by segment.

    The past is cut in segments, each embedded by a linear layer and ReLU and read by the recurrent
    layer. From its last state one step is taken for every segment of the future, all at once, its
    input being a learned vector of the segment's place beside one of the variable; a linear layer
    turns each output into the values of its segment.

    Reference: Lin et al. (2023), SegRNN: segment recurrent neural network for long-term time series
    forecasting.
    """

    def __init__(self, config: Config, num_variables: int, *, rngs: nnx.Rngs):
        """Makes the layers."""
        size, self.length, self.horizon = (
            config.hidden_size,
            config.segment_length,
            config.horizon,
        )
        num_future = -(-config.horizon // self.length)
        self.embedding = nnx.Linear(self.length, size, rngs=rngs)
        self.recurrent = seqjax.nn.RNN(seqjax.make_cell(config.cell, size), size, rngs=rngs)
        normal = jax.nn.initializers.normal(1.0)
        self.places = nnx.Param(normal(rngs.params(), (num_future, size - size // 2)))
        self.variables = nnx.Param(normal(rngs.params(), (num_variables, size // 2)))
        self.head = ReadOut(size, self.length, 0, config.dropout, rngs)

    def __call__(self, xs: jax.Array, lengths: Any, key: jax.Array | None = None) -> jax.Array:
        """Maps (B, T, D) to (B, horizon, D)."""
        batch, steps, number = xs.shape
        segments = xs.swapaxes(1, 2).reshape(batch, number, steps // self.length, self.length)
        _, state = self.recurrent(jax.nn.relu(self.embedding(segments)), return_state=True)
        places, variables = self.places[...], self.variables[...]
        future = len(places)
        inputs = jnp.concatenate(
            [
                jnp.broadcast_to(places, (batch, number, future, places.shape[-1])),
                jnp.broadcast_to(variables[:, None], (batch, number, future, variables.shape[-1])),
            ],
            axis=-1,
        )
        # A step for each future segment, side by side: the segments are one more batch axis.
        state = jax.tree.map(
            lambda leaf: jnp.broadcast_to(
                leaf[:, :, None], (*leaf.shape[:2], future, *leaf.shape[2:])
            ),
            state,
        )
        ys = self.recurrent(inputs[..., None, :], initial_state=state)[..., 0, :]
        values = self.head(ys, key).reshape(batch, number, future * self.length)
        return values[..., : self.horizon].swapaxes(1, 2)


def recurrent_layers(config: Config, in_size: int, rngs: nnx.Rngs) -> Any:
    """Returns the recurrent layer, or a stack of them."""
    layers = []
    layer = seqjax.nn.Bidirectional if config.cell.startswith("bi") else seqjax.nn.RNN
    for _ in range(config.num_layers):
        cell = seqjax.make_cell(config.cell.removeprefix("bi"), config.hidden_size)
        layers.append(layer(cell, in_size, rngs=rngs))
        in_size = layers[-1].out_size
    return layers[0] if len(layers) == 1 else seqjax.nn.Stack(layers, dropout=config.dropout)


def make_functions(config: Config, task: Task) -> Functions:
    """Returns the model as pure functions of its parameters."""
    return functions_of(config, task.scales, task.num_classes, task.sample.targets.shape)


def functions_of(
    config: Config, scales: Scales, num_classes: int, targets_shape: tuple[int, ...]
) -> Functions:
    """Returns the model for given units and shape of the answers."""
    in_size = len(scales.input_mean)
    out_shape = (
        (num_classes,) if num_classes else targets_shape[2 if config.model == "steps" else 1 :]
    )

    def build(rngs: nnx.Rngs) -> Any:
        if config.model == "segments":
            return SegmentForecaster(config, in_size, rngs=rngs)
        return SequenceRegressor(config, in_size, out_shape, rngs=rngs)

    described = {}

    def describe() -> None:  # traced for its shapes alone: no number is drawn
        model = build(nnx.Rngs(0))
        described["structure"] = nnx.graphdef(model)
        described["summary"] = seqjax.nn.summary(model)
        described["num_params"] = seqjax.nn.num_params(model)

    jax.eval_shape(describe)
    structure = described.pop("structure")

    @jax.jit
    def init(key: jax.Array) -> Any:
        return nnx.state(build(nnx.Rngs(params=key)))

    def apply(params: Any, batch: data.Sequences, key: jax.Array | None = None) -> jax.Array:
        model = nnx.merge(structure, params)
        xs = standardised(config, scales, batch.inputs)
        if key is not None and config.input_noise:
            key, noise_key = jax.random.split(key)
            xs = xs + config.input_noise * jax.random.normal(noise_key, xs.shape, xs.dtype)
        ys = model(xs, batch.lengths, key)
        if num_classes:
            return ys[..., 0] if num_classes == 1 else ys
        if config.model == "segments":
            ys = ys[..., scales.columns]
        mean, std = (along_last(v, ys.ndim) for v in (scales.output_mean, scales.output_std))
        ys = mean + std * ys
        if config.residual:
            ys = ys + last_observed(batch.inputs, scales.columns, config.model == "steps")
        return ys

    return Functions(init, apply, **described)


def standardised(config: Config, scales: Scales, inputs: Any) -> jax.Array:
    """Returns inputs in standard units; of a residual forecast, less the last observation."""
    xs = jnp.asarray(inputs, jnp.float32)
    centre = along_last(scales.input_mean, 3)
    if config.residual and config.model != "steps":
        centre = xs[:, -1:]
    xs = (xs - centre) / along_last(scales.input_std, 3)
    return jnp.clip(xs, -config.input_clip, config.input_clip) if config.input_clip else xs


def along_last(values: np.ndarray, ndim: int) -> np.ndarray:
    """Gives a vector so many axes, all but the last of length 1."""
    return np.expand_dims(values, tuple(range(ndim - 1)))


def make_loss(config: Config, functions: Functions, task: Task):
    """Returns the training loss; what has weight 0 does not count.

    Numbers are judged in the task's own units, divided by the root mean square of the answers'
    standard deviations, so that the loss ranks models as the test does but is near 1 at first.

    Args:
      config: the settings.
      functions: the model.
      task: gives the units.

    Returns:
      `loss(params, key, batch)` as `seqjax.train.make_train_step` takes it.
    """
    unit = float(np.sqrt(np.mean(task.scales.output_std**2))) if config.numeric else 1.0

    def loss(params: Any, key: jax.Array, batch: data.Sequences):
        predictions = functions.apply(params, batch, key)
        weights = batch.weights
        weight = weights.sum()
        sums = {"weight": weight}
        if config.numeric:
            errors = (predictions - batch.targets) / unit
            match config.loss:
                case "mse":
                    losses = errors**2
                case "mae":
                    losses = jnp.abs(errors)
                case _:
                    losses = optax.huber_loss(errors)
            losses = answer_means(losses, weights)
            sums["mse"] = (weights * answer_means((unit * errors) ** 2, weights)).sum()
        elif task.num_classes == 1:
            losses = optax.sigmoid_binary_cross_entropy(predictions, batch.targets)
            sums["accuracy"] = (weights * ((predictions > 0) == (batch.targets > 0))).sum()
        else:
            losses = optax.softmax_cross_entropy_with_integer_labels(predictions, batch.targets)
            sums["accuracy"] = (weights * (predictions.argmax(-1) == batch.targets)).sum()
        return (weights * losses).sum() / jnp.maximum(weight, 1), sums

    return loss


def answer_means(values: Any, weights: Any) -> Any:
    """Averages over the axes that an answer has behind those of the weights."""
    return values.mean(axis=tuple(range(weights.ndim, values.ndim)))


def make_predict(functions: Functions, mesh: Mesh):
    """Returns `predict(params, batches)`: the predictions of all real sequences, in order."""
    apply = jax.jit(functions.apply)

    def predict(params: Any, batches: Iterable[data.Sequences]) -> np.ndarray:
        found = []
        for batch in batches:
            predictions = jax.device_get(apply(params, train.shard(mesh, batch)))
            found.append(predictions[batch.lengths > 0])
        return np.concatenate(found)

    return predict
