"""The models of the classification experiment and their loss."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import seqjax
from experiments.augment import augmented
from experiments.cells import FEEDFORWARD
from experiments.classify.config import Config
from experiments.classify.inputs import WORDS, Inputs
from experiments.functions import Functions, make_functions, recurrent_layers
from seqjax import data


class Features(nnx.Module):
    """Stands where words have their embedding: features are read as they are."""

    def __init__(self, features: int):
        """Notes their number."""
        self.features = features

    def __call__(self, xs: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        """Returns `xs`."""
        return xs


class WindowClassifier(nnx.Module):
    """Layers without memory that see a whole sequence of fixed length at once."""

    def __init__(self, config: Config, in_size: int, num_classes: int, *, rngs: nnx.Rngs):
        """Makes the layers."""
        self.layers = recurrent_layers(config, in_size, rngs)
        self.dropout = nnx.Dropout(config.dropout)
        self.head = nnx.Linear(self.layers.out_size, num_classes, rngs=rngs)

    def __call__(self, xs: jax.Array, lengths: Any, *, key: jax.Array | None = None) -> jax.Array:
        """Maps (B, T, D) to (B, classes)."""
        keys = (None, None) if key is None else jax.random.split(key)
        hidden = self.layers(xs.reshape(len(xs), 1, -1), key=keys[0])[:, 0]
        return self.head(self.dropout(hidden, deterministic=key is None, rngs=keys[1]))


def build_model(config: Config, inputs: Inputs, rngs: nnx.Rngs) -> Any:
    """Builds the classifier that the settings describe.

    Args:
      config: the settings.
      inputs: the sizes of what it reads.
      rngs: gives the keys of the initialisers.

    Returns:
      The module.
    """
    num_classes = len(inputs.classes)
    words = inputs.kind == WORDS
    if config.cell == FEEDFORWARD and inputs.steps and not words:
        return WindowClassifier(config, inputs.steps * inputs.in_size, num_classes, rngs=rngs)
    if words:
        embedding = seqjax.nn.Embedding(
            inputs.in_size, config.embedding_size, dropout=config.dropout, rngs=rngs
        )
    else:
        embedding = Features(inputs.in_size)
    return seqjax.nn.SequenceClassifier(
        embedding,
        recurrent_layers(config, embedding.features, rngs),
        num_classes=num_classes,
        pooling=config.pooling,
        hidden_size=config.head_size or None,
        dropout=config.dropout,
        rngs=rngs,
    )


def model_functions(config: Config, inputs: Inputs) -> Functions:
    """Returns the model as pure functions: the logits of each sequence, (B, classes)."""

    def call(model: Any, batch: data.Sequences, key: jax.Array | None) -> jax.Array:
        xs = jnp.asarray(batch.inputs)
        if key is not None and inputs.kind != WORDS:
            key, augment_key = jax.random.split(key)
            xs = augmented(config, xs, batch.lengths, augment_key)
        return model(xs, jnp.asarray(batch.lengths), key=key)

    return make_functions(lambda rngs: build_model(config, inputs, rngs), call)


def make_loss(functions: Functions, label_smoothing: float = 0.0):
    """Returns the training loss, the mean cross-entropy, in which filler rows do not count.

    Args:
      functions: the model.
      label_smoothing: part of a label that is spread over all classes.

    Returns:
      `loss(params, key, batch)` as `seqjax.train.make_train_step` takes it.
    """

    def loss(params: Any, key: jax.Array, batch: data.Sequences):
        logits = functions.apply(params, batch, key)
        labels = jax.nn.one_hot(batch.targets, logits.shape[-1])
        smooth = optax.smooth_labels(labels, label_smoothing)
        losses = optax.softmax_cross_entropy(logits, smooth)
        weight = batch.weights.sum()
        correct = (batch.weights * (logits.argmax(-1) == batch.targets)).sum()
        mean = (batch.weights * losses).sum() / jnp.maximum(weight, 1)
        return mean, {"weight": weight, "accuracy": correct}

    return loss
