"""The tagger: vectors of words, affixes and characters, a layer over the sentence, a read-out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh

import seqjax
from experiments.functions import Functions, make_functions, recurrent_layers
from experiments.tagging.config import Config
from experiments.tagging.task import Batch
from experiments.tagging.vocabulary import NUM_AFFIXES
from seqjax import train
from seqjax.data._vocabulary import UNKNOWN_ID
from seqjax.nn._crf import CRFScores, crf_decode, crf_marginals, crf_nll


class Scored(NamedTuple):
    """What the model says of a batch.

    Attributes:
      emissions: score of every tag at every word, (B, T, K).
      crf: scores of the conditional random field, or None where each tag stands for itself.
    """

    emissions: Array
    crf: CRFScores | None

    def nll(self, batch: Batch) -> Array:
        """Returns the negative log-likelihood of each sentence, (B,)."""
        if self.crf is not None:
            return crf_nll(self.crf, self.emissions, batch.tags, batch.lengths)
        losses = optax.softmax_cross_entropy_with_integer_labels(self.emissions, batch.tags)
        return (batch.weights * losses).sum(axis=-1)

    def decode(self, lengths: Array) -> Array:
        """Returns the best tags of each sentence, (B, T)."""
        if self.crf is not None:
            return crf_decode(self.crf, self.emissions, lengths)[0]
        return self.emissions.argmax(axis=-1).astype(jnp.int32)

    def marginals(self, lengths: Array) -> Array:
        """Returns the probability of every tag at every word, (B, T, K)."""
        if self.crf is not None:
            return crf_marginals(self.crf, self.emissions, lengths)
        return jax.nn.softmax(self.emissions)


class Characters(nnx.Module):
    """Reads the characters of every word in both directions: one vector a word."""

    def __init__(self, num_characters: int, config: Config, *, rngs: nnx.Rngs):
        """Initialises the table and both directions."""
        self.embedding = seqjax.nn.Embedding(num_characters, config.character_size, rngs=rngs)
        # Read by a gated cell whatever reads the sentence, so that cells differ in that alone.
        self.recurrent = seqjax.nn.Bidirectional(
            seqjax.lstm(config.char_hidden_size), config.character_size, rngs=rngs
        )
        self.out_size = self.recurrent.out_size

    def __call__(self, characters: Array, word_lengths: Array) -> Array:
        """Returns vectors (B, T, out_size) of characters (B, T, C)."""
        vectors = self.embedding(characters)
        return self.recurrent(vectors, lengths=word_lengths, return_sequences=False)


class Tagger(nnx.Module):
    """Many to many: words in, the scores of every tag at every word out.

    Reference: Lample et al. (2016), Neural architectures for named entity recognition; Ling et al.
    (2015), Finding function in form (characters); Huang, Xu and Yu (2015), Bidirectional LSTM-CRF
    models for sequence tagging.
    """

    def __init__(self, config: Config, sizes: Mapping[str, int], *, rngs: nnx.Rngs):
        """Builds what the settings describe for a vocabulary of these sizes."""
        self.word_dropout = config.word_dropout
        self.embedding = seqjax.nn.Embedding(sizes["words"], config.embedding_size, rngs=rngs)
        in_size = self.embedding.features
        if config.affix_size:
            self.affixes = seqjax.nn.Embedding(sizes["affixes"], config.affix_size, rngs=rngs)
            in_size += NUM_AFFIXES * config.affix_size
        else:
            self.affixes = None
        if config.char_hidden_size:
            self.characters = Characters(sizes["characters"], config, rngs=rngs)
            in_size += self.characters.out_size
        else:
            self.characters = None
        self.embedding_dropout = nnx.Dropout(config.embedding_dropout)
        self.layers = recurrent_layers(config, in_size, rngs, window=(config.window, config.window))
        self.dropout = nnx.Dropout(config.dropout)
        self.head = nnx.Linear(self.layers.out_size, sizes["tags"], rngs=rngs)
        self.crf = seqjax.nn.CRF(sizes["tags"]) if config.crf else None

    def __call__(self, batch: Batch, *, key: Array | None = None) -> Scored:
        """Scores the tags of a batch, with dropout where there is a key."""
        word_key, *keys = [None] * 4 if key is None else jax.random.split(key, 4)
        words = batch.words
        if word_key is not None:
            dropped = jax.random.bernoulli(word_key, self.word_dropout, words.shape)
            words = jnp.where(dropped, UNKNOWN_ID, words)
        vectors = [self.embedding(words)]
        if self.affixes is not None:
            found = self.affixes(batch.affixes)
            vectors.append(found.reshape(*words.shape, -1))
        if self.characters is not None:
            vectors.append(self.characters(batch.characters, batch.word_lengths))
        inputs = jnp.concatenate(vectors, axis=-1)
        inputs = self.embedding_dropout(inputs, deterministic=key is None, rngs=keys[0])
        outputs = self.layers(inputs, lengths=batch.lengths, key=keys[1])
        outputs = self.dropout(outputs, deterministic=key is None, rngs=keys[2])
        return Scored(self.head(outputs), None if self.crf is None else self.crf.scores)


def model_functions(config: Config, sizes: Mapping[str, int]) -> Functions:
    """Returns the model as pure functions; `apply` returns `Scored`."""

    def call(model: Any, batch: Batch, key: Array | None) -> Scored:
        return model(batch, key=key)

    return make_functions(lambda rngs: Tagger(config, sizes, rngs=rngs), call)


def make_loss(functions: Functions):
    """Returns the loss of a word: padding and rows that only fill do not count.

    Args:
      functions: the model.

    Returns:
      `loss(params, key, batch)` as `seqjax.train.make_train_step` takes it.
    """

    def loss(params: Any, key: Array, batch: Batch):
        weight = batch.weights.sum()
        nll = functions.apply(params, batch, key).nll(batch).sum()
        return nll / jnp.maximum(weight, 1), {"weight": weight}

    return loss


class Judged(NamedTuple):
    """What the model says of some sentences, all words end to end.

    Attributes:
      predicted: id of the tag of every word.
      truth: id of the true tag of every word.
      known: whether the word is in the vocabulary.
      loss: negative log-likelihood of a word.
    """

    predicted: np.ndarray
    truth: np.ndarray
    known: np.ndarray
    loss: float

    def metrics(self) -> dict[str, float]:
        """Returns the accuracy, of all, known and unknown words, and the loss."""
        right = self.predicted == self.truth
        found = {"accuracy": float(right.mean()), "loss": self.loss}
        for name, chosen in (("known", self.known), ("unknown", ~self.known)):
            if chosen.any():
                found[f"accuracy_{name}"] = float(right[chosen].mean())
        return found


def make_predict(functions: Functions, mesh: Mesh):
    """Returns `predict(params, batches) -> Judged`."""

    @jax.jit
    def decode(params: Any, batch: Batch) -> tuple[Array, Array]:
        scored = functions.apply(params, batch)
        return scored.decode(batch.lengths), scored.nll(batch)

    def predict(params: Any, batches: Sequence[Batch]) -> Judged:
        found = train.fetch_each(decode(params, train.shard(mesh, batch)) for batch in batches)
        real = [batch.weights > 0 for batch in batches]

        def flat(values: Sequence[np.ndarray]) -> np.ndarray:
            return np.concatenate([v[mask] for v, mask in zip(values, real, strict=True)])

        truth = flat([batch.tags for batch in batches])
        return Judged(
            predicted=flat([tags for tags, _ in found]),
            truth=truth,
            known=flat([batch.words for batch in batches]) != UNKNOWN_ID,
            loss=float(sum(nll.sum(dtype=np.float64) for _, nll in found)) / len(truth),
        )

    return predict
