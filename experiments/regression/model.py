"""The models of the regression experiment: recurrent layers, wired to what a task asks."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from experiments.functions import Functions, make_functions, recurrent_layers
from experiments.regression.config import Config
from experiments.regression.task import Scales, Task, last_observed
from seqjax import data, online, train
from seqjax.cells._cell import project, read_out


class ReadOut(nnx.Module):
    """Dropout, a ReLU layer where one is wanted, dropout, and a linear layer.

    With random feedback, errors pass the linear layer backwards by fixed weights.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        head_size: int,
        dropout: float,
        rngs: nnx.Rngs,
        *,
        random_feedback: bool = False,
    ):
        """Makes the layers."""
        self.random_feedback = random_feedback
        self.hidden = nnx.Linear(in_size, head_size, rngs=rngs) if head_size else None
        self.out = nnx.Linear(head_size or in_size, out_size, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        """Maps (..., in_size) to (..., out_size)."""
        if self.hidden is not None:
            x = jax.nn.relu(self.hidden(self._dropped(x, key)))
            key = None if key is None else jax.random.fold_in(key, 1)
        x = self._dropped(x, key)
        if not self.random_feedback:
            return self.out(x)
        kernel = self.out.kernel[...]
        # As large as the first weights, and the same for every seed, whose weights differ.
        draw = jax.nn.initializers.lecun_normal()
        feedback = draw(jax.random.key(0), kernel.shape, kernel.dtype)
        # The layer's own answer, and the errors of the other one.
        fixed = self.out(jax.lax.stop_gradient(x))
        back = online.feedback_alignment(x, jax.lax.stop_gradient(kernel), feedback)
        return fixed + back - jax.lax.stop_gradient(back)

    def _dropped(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        return x if key is None else self.dropout(x, deterministic=False, rngs=key)


class SequenceRegressor(nnx.Module):
    """Recurrent layers and a read-out, at every step or at the last one."""

    def __init__(self, config: Config, in_size: int, out_shape: tuple[int, ...], *, rngs: nnx.Rngs):
        """Makes the layers."""
        self.recurrent = recurrent_layers(config, in_size, rngs, **config.layer_options)
        out_size = int(np.prod(out_shape))
        self.head = ReadOut(
            *(self.recurrent.out_size, out_size, config.head_size, config.dropout, rngs),
            random_feedback=config.gradient == "rflo",
        )
        self.every_step = config.model == "steps"
        self.out_shape = out_shape

    def __call__(self, xs: jax.Array, lengths: Any, key: jax.Array | None = None) -> jax.Array:
        """Maps (B, T, D) to (B, *out_shape), or with an answer at every step (B, T, *out_shape)."""
        keys = (None, None) if key is None else jax.random.split(key)
        ys = self.recurrent(xs, lengths=lengths, return_sequences=self.every_step, key=keys[0])
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
        self.recurrent = recurrent_layers(
            config, size, rngs, hidden_size=size, num_layers=1, **config.layer_options
        )
        normal = jax.nn.initializers.normal(1.0)
        self.places = nnx.Param(normal(rngs.params(), (num_future, size - size // 2)))
        self.variables = nnx.Param(normal(rngs.params(), (num_variables, size // 2)))
        self.head = ReadOut(size, self.length, 0, config.dropout, rngs)

    def __call__(self, xs: jax.Array, lengths: Any, key: jax.Array | None = None) -> jax.Array:
        """Maps (B, T, D) to (B, horizon, D)."""
        batch, steps, number = xs.shape
        size = self.recurrent.out_size
        segments = xs.swapaxes(1, 2).reshape(batch, number, steps // self.length, self.length)
        _, state = self.recurrent(jax.nn.relu(self.embedding(segments)), return_state=True)
        future = len(self.places[...])
        inputs = jnp.concatenate(
            [
                jnp.broadcast_to(self.places[...], (number, future, size - size // 2)),
                jnp.broadcast_to(self.variables[...][:, None], (number, future, size // 2)),
            ],
            axis=-1,
        )
        # A step for each future segment. The inputs are the same for the whole batch and the state
        # for all segments, so either product is taken once and only the pointwise part grows.
        cell = self.recurrent.cell
        params = cell.prepare(self.recurrent.cell_params())
        state = jax.tree.map(lambda leaf: leaf[:, :, None], state)
        drive = jax.tree.map(lambda leaf: leaf[None], project(cell, params, inputs, None))
        ys = read_out(cell, params, cell.step(params, state, drive), inputs[None])
        values = self.head(ys, key).reshape(batch, number, future * self.length)
        return values[..., : self.horizon].swapaxes(1, 2)


def model_functions(
    config: Config, scales: Scales, num_classes: int, targets_shape: tuple[int, ...]
) -> Functions:
    """Returns the model as pure functions: predictions of the shape of the targets.

    Args:
      config: the settings.
      scales: units of inputs and answers; predictions are in the task's own units.
      num_classes: 0 where the answers are numbers; of classes the predictions are logits.
      targets_shape: the shape of the targets, their number in front.

    Returns:
      The functions.
    """
    in_size = len(scales.input_mean)
    out_shape = (
        (num_classes,) if num_classes else targets_shape[2 if config.model == "steps" else 1 :]
    )

    def build(rngs: nnx.Rngs) -> Any:
        if config.model == "segments":
            return SegmentForecaster(config, in_size, rngs=rngs)
        return SequenceRegressor(config, in_size, out_shape, rngs=rngs)

    def call(model: Any, batch: data.Sequences, key: jax.Array | None) -> jax.Array:
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

    return make_functions(build, call)


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
            predictions = train.fetch(apply(params, train.shard(mesh, batch)))
            found.append(predictions[batch.lengths > 0])
        return np.concatenate(found)

    return predict
