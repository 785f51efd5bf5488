"""The model of the translation experiment, its loss, and its search."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from experiments.batches import Batch
from experiments.cells import make_cell
from experiments.functions import Functions, make_functions, recurrent_layers
from experiments.newton import executor_of
from experiments.translate.config import Config
from seqjax import decode, nn, train
from seqjax.data._pair_batching import PairBatch
from seqjax.data._subwords import END_ID, START_ID
from seqjax.data._vocabulary import PADDING_ID, UNKNOWN_ID
from seqjax.nn._attention import Memory
from seqjax.nn._attention_decoder import DecoderState, in_sizes

_NEVER_WRITTEN = (PADDING_ID, UNKNOWN_ID, START_ID)


def build_model(config: Config, source_size: int, target_size: int, rngs: nnx.Rngs) -> nn.Seq2Seq:
    """Builds the encoder and the decoder that the settings describe."""

    def embedding(vocab_size: int) -> nn.Embedding:
        return nn.Embedding(
            vocab_size,
            config.embedding_size,
            dropout=config.embedding_dropout,
            token_dropout=config.token_dropout,
            rngs=rngs,
        )

    source = embedding(source_size)
    encoder = recurrent_layers(
        config, config.embedding_size, rngs, num_layers=config.encoder_layers, both=True
    )
    attend_from = 0 if config.attend_from == "bottom" else -1
    sizes = in_sizes(
        config.embedding_size,
        [config.decoder_size] * config.decoder_layers,
        encoder.out_size,
        attend_from,
        config.input_feeding,
    )
    cell = make_cell(config, config.decoder_size)
    decoder = nn.AttentionDecoder(
        embedding(target_size),
        [nn.RNN(cell, size, executor=executor_of(config), rngs=rngs) for size in sizes],
        nn.Attention(config.attention, config.decoder_size, encoder.out_size, rngs=rngs),
        attend_from=attend_from,
        input_feeding=config.input_feeding,
        dropout=config.dropout,
        rngs=rngs,
    )
    return nn.Seq2Seq(source, encoder, decoder, rngs=rngs)


def model_functions(config: Config, source_size: int, target_size: int) -> Functions:
    """Returns the model as pure functions; `apply(params, ask, key)` is `ask(model, key)`."""
    return make_functions(
        lambda rngs: build_model(config, source_size, target_size, rngs),
        lambda model, ask, key: ask(model, key),
    )


def token_losses(
    functions: Functions,
    params: Any,
    batch: PairBatch,
    key: jax.Array | None,
    *,
    label_smoothing: float = 0.0,
    sampling_rate: float = 0.0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the sums of loss and negative log-likelihood over real tokens, and their number."""

    def ask(model: nn.Seq2Seq, key: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        outputs, _ = model(
            batch.source,
            batch.source_lengths,
            inputs_of(batch.target),
            target_lengths=batch.target_lengths,
            sampling_rate=sampling_rate,
            key=key,
        )
        return model.decoder.cross_entropy(outputs, batch.target, label_smoothing=label_smoothing)

    steps = jnp.arange(batch.target.shape[1])[None]
    real = (steps < batch.target_lengths[:, None]).astype(jnp.float32)
    losses, nll = functions.apply(params, ask, key)
    return (real * losses).sum(), (real * nll).sum(), real.sum()


def inputs_of(targets: jax.Array) -> jax.Array:
    """Returns what each step is given: the start token, then the targets before it, (B, T)."""
    start = jnp.full_like(targets[:, :1], START_ID)
    return jnp.concatenate([start, targets[:, :-1]], axis=1)


def make_loss(config: Config, functions: Functions):
    """Returns `loss(params, key, batch)`, the mean over the real tokens, for `make_train_step`."""

    def loss(params: Any, key: jax.Array, batch: PairBatch):
        total, nll, weight = token_losses(
            functions,
            params,
            batch,
            key,
            label_smoothing=config.label_smoothing,
            sampling_rate=config.sampling_rate,
        )
        return total / jnp.maximum(weight, 1), {"weight": weight, "nll": nll}

    return loss


def make_nll(functions: Functions, mesh: Mesh):
    """Returns `nll(params, batches)`: negative log-likelihood in nats a token."""

    @jax.jit
    def sums(params: Any, batch: PairBatch) -> tuple[jax.Array, jax.Array]:
        return token_losses(functions, params, batch, None)[1:]

    def nll(params: Any, batches: Sequence[PairBatch]) -> float:
        found = train.fetch_each(sums(params, train.shard(mesh, batch)) for batch in batches)
        total, weight = np.sum(np.array(found, np.float64), axis=0)
        return float(total / weight)

    return nll


def make_translate(functions: Functions, mesh: Mesh, *, width: int, alpha: float):
    """Returns `translate(members, batches)`: the ids of the best translation of each source.

    Args:
      functions: the model.
      mesh: devices the batches are split over.
      width: hypotheses of the beam; 1 is greedy search.
      alpha: exponent of the length penalty.

    Returns:
      A function of the parameters of one model or more, whose probabilities are averaged, and of
      the batches that `source_batches` makes.
    """

    @jax.jit
    def search(members: Sequence[Any], tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        read = [
            functions.apply(params, lambda model, key: model.encode(tokens, lengths))
            for params in members
        ]

        def step(states: tuple, previous: jax.Array):
            def ask(model: nn.Seq2Seq, memory: Memory, state: DecoderState):
                state, outputs, _ = model.decoder.step(state, previous, memory)
                return state, jax.nn.log_softmax(model.decoder.logits(outputs))

            found = [
                functions.apply(params, lambda model, _, m=memory, s=state: ask(model, m, s))
                for params, (memory, _), state in zip(members, read, states, strict=True)
            ]
            log_probs = jax.nn.logsumexp(jnp.stack([answer[1] for answer in found]), axis=0)
            log_probs = (log_probs - np.log(len(members))).at[..., _NEVER_WRITTEN].set(-jnp.inf)
            return tuple(answer[0] for answer in found), log_probs

        start = tuple(jax.tree.map(lambda leaf: leaf[:, 0], state) for _, state in read)
        found = decode.beam_search(
            step,
            start,
            jnp.full(tokens.shape[:1], START_ID),
            end_id=END_ID,
            width=width,
            max_length=2 * tokens.shape[1] + 10,
            alpha=alpha,
        )
        return found.tokens[:, 0]

    def translate(members: Sequence[Any], batches: Sequence[Batch]) -> list[np.ndarray]:
        found = {}
        for batch in batches:
            tokens, lengths = train.shard(mesh, (batch.tokens, batch.lengths))
            rows = train.fetch(search(tuple(members), tokens, lengths))
            for number, row, weight in zip(batch.labels, rows, batch.weights, strict=True):
                if weight:
                    found[int(number)] = row
        return [found[number] for number in range(len(found))]

    return translate


def attention_weights(
    functions: Functions, params: Any, source: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Returns what the decoder looked at before it wrote each token of a target, (T, S)."""

    def ask(model: nn.Seq2Seq, key: jax.Array | None) -> jax.Array:
        inputs = inputs_of(jnp.asarray(target)[None])
        return model(jnp.asarray(source)[None], jnp.array([len(source)]), inputs)[1][0]

    return np.asarray(functions.apply(params, ask))
