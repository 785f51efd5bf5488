"""The model of the sentiment experiment, its loss and its optimiser."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

import seqjax
from experiments.batches import Batch
from experiments.functions import Functions, make_functions, recurrent_layers
from experiments.imdb.config import Config
from experiments.imdb.cross_fitting import stacking_weights
from seqjax import train


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
    layers = recurrent_layers(config, embedding.features, rngs)
    return seqjax.nn.SequenceClassifier(
        embedding,
        layers,
        num_classes=1,
        pooling=config.pooling,
        segment_length=config.segment_length or None,
        hidden_size=config.head_size or None,
        dropout=config.dropout,
        rngs=rngs,
    )


def model_functions(config: Config, vocab_size: int) -> Functions:
    """Returns the model as pure functions: log-odds that each review is positive, (B,)."""

    def call(model: Any, batch: Batch, key: jax.Array | None) -> jax.Array:
        return model(batch.tokens, batch.lengths, key=key)[:, 0]

    return make_functions(lambda rngs: build_model(config, vocab_size, rngs), call)


def make_loss(functions: Functions, soft_labels: float):
    """Returns the training loss of the network alone, in which filler rows do not count.

    Args:
      functions: the model.
      soft_labels: how much of a label comes from the linear model's probability, which does not
        know the review, instead of the review's own label.

    Returns:
      `loss(params, key, batch)` as `seqjax.train.make_train_step` takes it.
    """

    def loss(params: Any, key: jax.Array, batch: Batch):
        logits = functions.apply(params, batch, key)
        targets = (1 - soft_labels) * batch.labels + soft_labels * jax.nn.sigmoid(batch.offsets)
        losses = optax.sigmoid_binary_cross_entropy(logits, targets)
        weight = batch.weights.sum()
        correct = (batch.weights * ((logits > 0) == (batch.labels > 0))).sum()
        mean = (batch.weights * losses).sum() / jnp.maximum(weight, 1)
        return mean, {"weight": weight, "accuracy": correct}

    return loss


def make_predict(functions: Functions, mesh: Mesh):
    """Returns `predict(params, batches) -> Judged`: the network's logit of every real review."""

    @jax.jit
    def logits(params: Any, batch: Batch) -> jax.Array:
        return functions.apply(params, batch)

    def predict(params: Any, batches: Sequence[Batch]) -> Judged:
        found = train.fetch_each(logits(params, train.shard(mesh, batch)) for batch in batches)
        real = np.concatenate([batch.weights for batch in batches]) > 0
        return Judged(
            network=np.concatenate(found)[real].astype(np.float64),
            linear=np.concatenate([batch.offsets for batch in batches])[real].astype(np.float64),
            positive=np.concatenate([batch.labels for batch in batches])[real] > 0,
        )

    return predict


class Judged(NamedTuple):
    """What each part of the model says of some reviews.

    Attributes:
      network: the network's logit of each review.
      linear: the linear path's logit, zero without one.
      positive: the truth.
    """

    network: np.ndarray
    linear: np.ndarray
    positive: np.ndarray

    def weights(self) -> np.ndarray:
        """Returns the weights of network and linear path that suit these reviews best."""
        if not self.linear.any():
            return np.array([1.0, 0.0])
        logits = np.stack([self.network, self.linear], axis=1)
        return stacking_weights(logits, self.positive)

    def metrics(self, weights: Sequence[float] | np.ndarray) -> dict[str, float]:
        """Returns accuracy and NLL of the weighted sum, and both of the network alone."""
        sign = np.where(self.positive, 1.0, -1.0)
        mixture = weights[0] * self.network + weights[1] * self.linear
        found = {}
        for whose, logits in (("", mixture), ("_network", self.network)):
            found[f"accuracy{whose}"] = float(np.mean((logits > 0) == self.positive))
            found[f"nll{whose}"] = float(np.mean(np.logaddexp(0.0, -sign * logits)))
        return found
