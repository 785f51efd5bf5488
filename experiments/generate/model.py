"""The model of the generation experiment, its loss, and how it is judged."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

import seqjax
from experiments.functions import Functions, make_functions, recurrent_layers
from experiments.generate.config import Config
from seqjax import data, train


class NextStep(nnx.Module):
    """What follows each step of a sequence: an embedding of ids, recurrent layers, a read-out.

    Steps of features, of which any number may be 1, enter the recurrent layers as they are.
    """

    def __init__(self, config: Config, num_kinds: int, *, rngs: nnx.Rngs):
        """Makes the layers for ids below `num_kinds`, or for as many features."""
        in_size = config.embedding_size if config.text else num_kinds
        self.embedding: Any = embedding_of(num_kinds, in_size, rngs) if config.text else None
        self.recurrent = recurrent_layers(config, in_size, rngs, window=(config.width - 1, 0))
        self.input_dropout = nnx.Dropout(config.input_dropout)
        self.dropout = nnx.Dropout(config.dropout)
        if config.tie_weights:
            self.head, self.bias = None, nnx.Param(jnp.zeros(num_kinds))
        else:
            self.head = nnx.Linear(self.recurrent.out_size, num_kinds, rngs=rngs)

    def __call__(self, xs: jax.Array, state: Any = None, key: jax.Array | None = None) -> Any:
        """Maps ids (B, T) or features (B, T, D), and the state before them, to logits and a state.

        Logits have the shape (B, T, num_kinds). The state None is that before the first step.
        """
        keys = (None, None, None) if key is None else jax.random.split(key, 3)
        xs = xs if self.embedding is None else self.embedding(xs)
        xs = self.input_dropout(xs, deterministic=key is None, rngs=keys[0])
        ys, state = self.recurrent(xs, initial_state=state, return_state=True, key=keys[1])
        ys = self.dropout(ys, deterministic=key is None, rngs=keys[2])
        return self.read_out(ys), state

    def read_out(self, ys: jax.Array) -> jax.Array:
        """Maps (B, T, hidden_size) to logits."""
        if self.head is not None:
            return self.head(ys)
        # The vectors have unit variance, and so should the products with them at first.
        logits = ys @ self.embedding.table[...].T / math.sqrt(ys.shape[-1])
        return logits + jnp.expand_dims(self.bias[...], tuple(range(logits.ndim - 1)))


def embedding_of(num_kinds: int, size: int, rngs: nnx.Rngs) -> seqjax.nn.Embedding:
    """Returns vectors of unit variance: each is met often, and small ones are learnt slowly."""
    table = jax.random.normal(rngs.params(), (num_kinds, size))
    return seqjax.nn.Embedding(num_kinds, size, table=table, rngs=rngs)


class Asked(NamedTuple):
    """What the model is asked: steps, and the state before them (None at the beginning)."""

    xs: Any
    state: Any = None


def model_functions(config: Config, num_kinds: int) -> Functions:
    """Returns the model as pure functions of an `Asked`: `(logits, state)`."""

    def call(model: Any, asked: Asked, key: jax.Array | None) -> Any:
        return model(asked.xs, asked.state, key)

    return make_functions(lambda rngs: NextStep(config, num_kinds, rngs=rngs), call)


def zero_state(functions: Functions, segment: data.Segment) -> Any:
    """Returns the state before the first step of as many streams as a segment has.

    It is zero in every layer that the flags can describe.
    """
    params = jax.eval_shape(functions.init, jax.random.key(0))
    _, state = jax.eval_shape(functions.apply, params, Asked(segment.inputs))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)


def started(state: Any, starts: jax.Array) -> Any:
    """Returns the state, zero for the streams that start."""
    return jax.tree.map(
        lambda leaf: jnp.where(jnp.expand_dims(starts, tuple(range(1, leaf.ndim))), 0, leaf), state
    )


def log_losses(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns the negative log-likelihood of every step in nats, (B, T).

    Args:
      logits: of ids, one of which follows, or of features, each of which is 0 or 1 by itself.
      targets: ids (B, T), or features (B, T, D) over which the losses are summed.
    """
    if targets.ndim == 2:
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return optax.sigmoid_binary_cross_entropy(logits, targets).sum(axis=-1)


def make_loss(functions: Functions):
    """Returns the training loss, which carries the states from segment to segment.

    Args:
      functions: the model.

    Returns:
      `loss(params, key, segment, state)` as `seqjax.train.make_train_step` takes it with `carry`.
    """

    def loss(params: Any, key: jax.Array, segment: data.Segment, state: Any):
        asked = Asked(segment.inputs, started(state, segment.starts))
        logits, state = functions.apply(params, asked, key)
        weight = segment.weights.sum()
        total = (segment.weights * log_losses(logits, segment.targets)).sum()
        return total / jnp.maximum(weight, 1), {"weight": weight}, state

    return loss


def make_judge(functions: Functions, mesh: Mesh) -> Callable[[Any, Iterable[data.Segment]], float]:
    """Returns `judge(params, segments)`: the mean loss, in nats, of what counts in them."""

    @jax.jit
    def sums(params: Any, segment: data.Segment, state: Any) -> Any:
        asked = Asked(segment.inputs, started(state, segment.starts))
        logits, state = functions.apply(params, asked)
        return (segment.weights * log_losses(logits, segment.targets)).sum(), state

    def judge(params: Any, segments: Iterable[data.Segment]) -> float:
        weight = 0.0

        def totals() -> Iterator[jax.Array]:
            nonlocal weight
            state = None
            for segment in segments:
                if state is None:
                    state = train.shard(mesh, zero_state(functions, segment))
                total, state = sums(params, train.shard(mesh, segment), state)
                weight += float(segment.weights.sum())
                yield total

        return float(np.sum(train.fetch_each(totals()), dtype=np.float64)) / weight

    return judge
