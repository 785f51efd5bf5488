"""The model of the transcription experiment, and its loss."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.augment import augmented
from experiments.functions import Functions, make_functions, recurrent_layers
from experiments.transcribe.config import Config
from experiments.transcribe.task import DIGITS
from seqjax import data

BLANK = 0  # digit d is symbol d + 1


class Transcriber(nnx.Module):
    """Recurrent layers, and at every step the logits of blank and the ten digits."""

    def __init__(self, config: Config, in_size: int, *, rngs: nnx.Rngs):
        """Makes the layers."""
        self.recurrent = recurrent_layers(config, in_size, rngs)
        self.dropout = nnx.Dropout(config.dropout)
        self.head = nnx.Linear(self.recurrent.out_size, DIGITS + 1, rngs=rngs)

    def __call__(self, xs: jax.Array, lengths: Any, *, key: jax.Array | None = None) -> jax.Array:
        """Maps (B, T, D) to (B, T, 11)."""
        keys = (None, None) if key is None else jax.random.split(key)
        ys = self.recurrent(xs, lengths=lengths, key=keys[0])
        return self.head(self.dropout(ys, deterministic=key is None, rngs=keys[1]))


def model_functions(config: Config) -> Functions:
    """Returns the model as pure functions: log-probabilities of blank and digits, (B, T, 11)."""

    def call(model: Any, batch: data.Sequences, key: jax.Array | None) -> jax.Array:
        xs = jnp.asarray(batch.inputs)
        if key is not None:
            key, augment_key = jax.random.split(key)
            xs = augmented(config, xs, batch.lengths, augment_key)
        return jax.nn.log_softmax(model(xs, jnp.asarray(batch.lengths), key=key))

    in_size = config.num_mels * config.stack
    return make_functions(lambda rngs: Transcriber(config, in_size, rngs=rngs), call)


def ctc_losses(log_probs: jax.Array, batch: data.Sequences) -> jax.Array:
    """Returns the negative log-probability of each string, summed over all alignments, (B,).

    Frames from `lengths` on are padding, and so are targets of -1, which stand last in their row.
    The loss of a row that only fills, without frames and digits, is 0.

    Args:
      log_probs: of blank and digits at each step, (B, T, 11).
      batch: strings with their digits, (B, max_digits).

    Returns:
      The losses.

    Reference: Graves et al. (2006), Connectionist temporal classification.
    """
    steps = jnp.arange(log_probs.shape[1])[None]
    padded = steps >= jnp.asarray(batch.lengths)[:, None]
    # A row that only fills holds zeros, which as targets would be the digit 0.
    missing = (batch.targets < 0) | (batch.weights == 0)[:, None]
    return optax.ctc_loss(
        log_probs,
        padded.astype(jnp.float32),
        jnp.where(missing, BLANK, batch.targets + 1),
        missing.astype(jnp.float32),
        blank_id=BLANK,
    )


def make_loss(functions: Functions):
    """Returns the training loss, the mean over strings, in which filler rows do not count.

    Args:
      functions: the model.

    Returns:
      `loss(params, key, batch)` as `seqjax.train.make_train_step` takes it.
    """

    def loss(params: Any, key: jax.Array, batch: data.Sequences):
        losses = ctc_losses(functions.apply(params, batch, key), batch)
        weight = batch.weights.sum()
        return (batch.weights * losses).sum() / jnp.maximum(weight, 1), {"weight": weight}

    return loss
