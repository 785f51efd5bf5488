"""The model of the sentiment experiment, its loss and its optimiser."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import seqjax
from experiments.imdb.config import Config
from seqjax import data


class Functions(NamedTuple):
    """A model as pure functions of its parameters.

    Attributes:
      init: `init(key) -> params`.
      logits: `logits(params, batch, key=None) -> (B,)`, log-odds that a review is positive.
      model: the module at seed 0, for its table.
    """

    init: Any
    logits: Any
    model: seqjax.nn.SequenceClassifier


def build_model(config: Config, vocab_size: int, rngs: nnx.Rngs) -> seqjax.nn.SequenceClassifier:
    """Builds the classifier that the settings describe.

    Args:
      config: the settings.
      vocab_size: number of token ids.
      rngs: gives the keys of the initialisers.

    Returns:
      The module.
    """
    embedding = seqjax.nn.Embedding(
        vocab_size,
        config.embedding_size,
        pair_features=config.pair_size,
        pair_buckets=config.pair_buckets,
        dropout=config.embedding_dropout,
        token_dropout=config.token_dropout,
        rngs=rngs,
    )
    layers = []
    in_size = embedding.features
    layer = seqjax.nn.Bidirectional if config.cell.startswith("bi") else seqjax.nn.RNN
    for _ in range(config.num_layers):
        cell = seqjax.make_cell(config.cell.removeprefix("bi"), config.hidden_size)
        layers.append(layer(cell, in_size, rngs=rngs))
        in_size = layers[-1].out_size
    return seqjax.nn.SequenceClassifier(
        embedding,
        layers[0] if len(layers) == 1 else seqjax.nn.Stack(layers, dropout=config.dropout),
        num_classes=1,
        pooling=config.pooling,
        segment_length=config.segment_length or None,
        hidden_size=config.head_size or None,
        dropout=config.dropout,
        rngs=rngs,
    )


def make_functions(config: Config, vocab_size: int) -> Functions:
    """Returns the model as pure functions of its parameters."""

    def build(rngs: nnx.Rngs) -> seqjax.nn.SequenceClassifier:
        return build_model(config, vocab_size, rngs)

    model = build(nnx.Rngs(config.seed))
    structure, _ = nnx.split(model)

    def init(key: jax.Array) -> Any:
        return nnx.state(build(nnx.Rngs(params=key)))

    def logits(params: Any, batch: data.Batch, key: jax.Array | None = None) -> jax.Array:
        own = nnx.merge(structure, params)(batch.tokens, batch.lengths, key=key)[:, 0]
        return own + batch.offsets

    return Functions(init, logits, model)


def make_loss(functions: Functions):
    """Returns the training loss, weighted so that filler rows do not count."""

    def loss(params: Any, key: jax.Array | None, batch: data.Batch):
        logits = functions.logits(params, batch, key)
        losses = optax.sigmoid_binary_cross_entropy(logits, batch.labels.astype(logits.dtype))
        weight = batch.weights.sum()
        correct = (batch.weights * ((logits > 0) == (batch.labels > 0))).sum()
        mean = (batch.weights * losses).sum() / jnp.maximum(weight, 1)
        return mean, {"weight": weight, "accuracy": correct}

    return loss


def make_optimizer(config: Config, num_steps: int) -> optax.GradientTransformation:
    """Returns AdamW with clipping and a schedule.

    Args:
      config: the settings.
      num_steps: updates until the learning rate reaches its end.

    Returns:
      The optimiser.
    """
    schedule = config.learning_rate
    if config.schedule == "cosine":
        schedule = optax.warmup_cosine_decay_schedule(
            0.1 * config.learning_rate,
            config.learning_rate,
            min(200, num_steps // 10),
            num_steps,
            0.01 * config.learning_rate,
        )

    def decays(params: Any) -> Any:
        # A row of a table is seldom used, and decay at every step would wear it away.
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf.ndim > 1 and "embedding" not in jax.tree_util.keystr(path),
            params,
        )

    optimizer = optax.adamw(schedule, weight_decay=config.weight_decay, mask=decays)
    if config.clip_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
    return optimizer
