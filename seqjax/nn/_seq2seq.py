"""Sequence to sequence: an encoder, attention and a decoder."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_kind
from seqjax._padding import checked_lengths
from seqjax.nn._attention import Memory
from seqjax.nn._attention_decoder import AttentionDecoder, DecoderState
from seqjax.nn._embedding import Embedding
from seqjax.nn._module import Module, check_rngs, split_key
from seqjax.nn._recurrent import RNN, Bidirectional, Recurrent
from seqjax.nn._stack import Stack

WHERE = "seqjax.nn.Seq2Seq"


class Seq2Seq(Module):
    """Many to many, unaligned: reads a source, then writes a target token by token.

    The decoder starts from `tanh(V s)`, where `s` is the encoder's last output (in both directions
    if it is bidirectional).

    Args:
      embedding: embedding of the source tokens.
      encoder: `RNN`, `Bidirectional` or `Stack` over the embedded source.
      decoder: decoder whose attention has `memory_size` equal to the encoder's out_size.
      param_dtype: dtype of the parameters of `V`.
      rngs: provides the key of the initialiser of `V`.

    Raises:
      ValueError: if the sizes of encoder, embedding and attention differ.
      TypeError: if an argument is of another kind.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs, nn = nnx.Rngs(0), seqjax.nn
      >>> model = nn.Seq2Seq(
      ...     nn.Embedding(10, 4, rngs=rngs),
      ...     nn.Bidirectional(seqjax.gru(5), 4, rngs=rngs),
      ...     nn.AttentionDecoder(
      ...         nn.Embedding(12, 4, rngs=rngs),
      ...         [nn.RNN(seqjax.gru(6), 4, rngs=rngs)],
      ...         nn.Attention("general", 6, 10, rngs=rngs),
      ...         rngs=rngs,
      ...     ),
      ...     rngs=rngs,
      ... )
      >>> source, lengths = jnp.ones((2, 7), int), jnp.array([7, 3])
      >>> outputs, weights = jax.jit(model)(source, lengths, jnp.ones((2, 5), int))
      >>> model.decoder.logits(outputs).shape, weights.shape
      ((2, 5, 12), (2, 5, 7))

    Reference: Sutskever, Vinyals and Le (2014), Sequence to sequence learning with neural networks;
    Bahdanau, Cho and Bengio (2015), Neural machine translation by jointly learning to align and
    translate.
    """

    def __init__(
        self,
        embedding: Embedding,
        encoder: RNN | Bidirectional | Stack,
        decoder: AttentionDecoder,
        *,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Stores the given modules and initialises the bridge between them."""
        check_kind(WHERE, "embedding", embedding, Embedding, "a seqjax.nn.Embedding")
        check_kind(WHERE, "encoder", encoder, Recurrent, "a layer such as seqjax.nn.RNN")
        check_kind(WHERE, "decoder", decoder, AttentionDecoder, "a seqjax.nn.AttentionDecoder")
        check_rngs(WHERE, rngs)
        if embedding.features != encoder.in_size:
            raise ValueError(
                f"{WHERE}: `encoder` must have in_size = {embedding.features}, the "
                f"features of the embedding, got {encoder.in_size}."
            )
        if encoder.out_size != decoder.attention.memory_size:
            raise ValueError(
                f"{WHERE}: the decoder's attention must have memory_size = "
                f"{encoder.out_size}, the encoder's out_size, got {decoder.attention.memory_size}."
            )
        self.embedding = embedding
        self.encoder = encoder
        self.decoder = decoder
        fields = jax.tree.leaves(decoder.initial_state((1,), param_dtype).cells)
        size = sum(fields[place].shape[-1] for place in _bridged(decoder))
        self.bridge = nnx.Linear(encoder.out_size, size, param_dtype=param_dtype, rngs=rngs)

    def encode(
        self, source: Array, lengths: Array, *, key: Array | None = None
    ) -> tuple[Memory, DecoderState]:
        """Encodes a batch of sources.

        Args:
          source: integers (B, S).
          lengths: tokens of each source, (B,).
          key: random key of the dropouts; without it there is no dropout.

        Returns:
          The memory that the decoder attends to, and the decoder's initial state, leaves
          (B, 1, ...).

        Raises:
          ValueError: if a shape does not fit, or a known token or length is out of range.
        """
        lengths = checked_lengths(WHERE, lengths, source.shape[:1], source.shape[1])
        keys = split_key(key, 2)
        vectors = self.embedding(source, key=keys[0])
        encoded, last, _ = self.encoder.over_time(
            jnp.swapaxes(vectors, 0, 1), lengths=lengths, key=keys[1]
        )
        memory = self.decoder.attention.memory(jnp.swapaxes(encoded, 0, 1), lengths=lengths)
        return memory, self._start(last())

    def _start(self, summary: Array) -> DecoderState:
        state = self.decoder.initial_state((summary.shape[0], 1), summary.dtype)
        leaves, structure = jax.tree.flatten(state.cells)
        values = jnp.tanh(self.bridge(summary))[:, None]
        for place in _bridged(self.decoder):
            size = leaves[place].shape[-1]
            leaves[place], values = values[..., :size], values[..., size:]
        return state._replace(cells=jax.tree.unflatten(structure, leaves))

    def __call__(
        self,
        source: Array,
        lengths: Array,
        inputs: Array,
        *,
        target_lengths: Array | None = None,
        sampling_rate: float = 0.0,
        key: Array | None = None,
    ) -> Any:
        """Encodes the sources and runs the decoder over known targets.

        Args:
          source: integers (B, S).
          lengths: tokens of each source, (B,).
          inputs: the decoder's input token at each step, integers (B, T).
          target_lengths: steps of each target, (B,).
          sampling_rate: see `AttentionDecoder`.
          key: random key of dropout and sampling. Without it there is no dropout.

        Returns:
          Outputs (B, T, features), which `decoder.logits` turns into logits, and the attention
          weights (B, T, S).

        Raises:
          ValueError: if a shape does not fit, or a known token or length is out of range.
        """
        keys = split_key(key, 2)
        memory, state = self.encode(source, lengths, key=keys[0])
        _, outputs, weights = self.decoder(
            state, inputs, memory, lengths=target_lengths, sampling_rate=sampling_rate, key=keys[1]
        )
        return outputs, weights


def _bridged(decoder: AttentionDecoder) -> list[int]:
    """Returns the indices of the decoder's flattened state fields that start from the encoder.

    If a cell's state starts at zero, these are all its real fields of shape (H,). If the cell
    declares other `initial_values`, as the sLSTM does for its stabiliser, only the first field is
    bridged.
    """
    places, start = [], 0
    for layer in decoder.layers:
        cell, state = layer.cell, jax.tree.leaves(layer.initial_state())
        real = [leaf.ndim == 1 and jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in state]
        elsewhere = bool(getattr(cell, "initial_values", ()))
        places += [
            start + place
            for place, is_real in enumerate(real)
            if is_real and not (place and elsewhere)
        ]
        start += len(state)
    return places
