"""A recurrent decoder with attention to a source, run over all steps at once or step by step."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from seqjax._checks import check_kind, check_state
from seqjax._padding import checked_lengths, select
from seqjax._unroll import unroll
from seqjax.cells._cell import advance
from seqjax.nn._attention import Attention, Memory
from seqjax.nn._cross_entropy import linear_cross_entropy, linear_logits
from seqjax.nn._embedding import Embedding
from seqjax.nn._module import Module, active, check_rngs, drop, make_dropout, split_key
from seqjax.nn._recurrent import RNN

WHERE = "seqjax.nn.AttentionDecoder"


class DecoderState(NamedTuple):
    """The state that a decoder carries from one step to the next.

    Attributes:
      cells: the state of each recurrent layer, leaves of shape (B, K, H).
      fed: with `input_feeding`, the last output, (B, K, features); otherwise None.
    """

    cells: tuple[Any, ...]
    fed: Array | None


class AttentionDecoder(Module):
    """Recurrent layers over the target tokens so far, with attention to the source.

        h_t = layers(embedding(y_{t-1})),  c_t = attention(h_t)
        output_t = tanh(W [c_t, h_t]),     logits_t = output_t E^T + b

    Layer `attend_from` provides the queries. Each layer above it reads the context in addition to
    the output of the layer below. `E` is the table of the embedding itself (tied weights).

    With `input_feeding`, each step also reads the output of the previous step, so steps run one
    after the other. Without it, the context never returns to the layers below. Over known tokens,
    each layer is then one `unroll`, and the attention of all steps is a few large products.

    Args:
      embedding: embedding of the target tokens. Outputs have the same number of features.
      layers: `RNN` layers, from the input upwards.
      attention: attention with `query_size` equal to the out_size of layer `attend_from`.
      attend_from: index of the layer that provides the queries.
      input_feeding: whether each step reads the output of the previous step.
      dropout: dropout rate of the features between layers, with one mask for all steps of a
        sequence, and of the output, with a new mask at each step.
      param_dtype: dtype of the parameters.
      rngs: provides the keys of the initialisers.

    Raises:
      ValueError: if sizes do not fit, `attend_from` is not the index of a layer, a layer looks
        ahead, or `dropout` is not in [0, 1).
      TypeError: if an argument is of another kind.

    Example:
      >>> import jax.numpy as jnp, seqjax
      >>> from flax import nnx
      >>> rngs, nn = nnx.Rngs(0), seqjax.nn
      >>> embedding = nn.Embedding(12, 4, rngs=rngs)
      >>> attention = nn.Attention("dot", 6, 6, rngs=rngs)
      >>> layers = [nn.RNN(seqjax.gru(6), 4, rngs=rngs)]
      >>> decoder = nn.AttentionDecoder(embedding, layers, attention, rngs=rngs)
      >>> memory = attention.memory(jnp.ones((2, 7, 6)), lengths=jnp.array([7, 3]))
      >>> state = decoder.initial_state((2, 1), jnp.float32)
      >>> state, outputs, weights = decoder(state, jnp.ones((2, 5), int), memory)
      >>> decoder.logits(outputs).shape, weights.shape
      ((2, 5, 12), (2, 5, 7))

    Reference: Luong, Pham and Manning (2015), Effective approaches to attention-based neural
    machine translation (`tanh(W [c, h])`, input feeding); Wu et al. (2016), Google's neural machine
    translation system (queries from the lowest layer); Press and Wolf (2017), Using the output
    embedding to improve language models (tied weights).
    """

    def __init__(
        self,
        embedding: Embedding,
        layers: Sequence[RNN],
        attention: Attention,
        *,
        attend_from: int = -1,
        input_feeding: bool = False,
        dropout: float = 0.0,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Stores the given modules and initialises the other parameters."""
        check_kind(WHERE, "embedding", embedding, Embedding, "a seqjax.nn.Embedding")
        check_kind(WHERE, "layers", layers, Sequence | nnx.List, "a sequence of RNN layers")
        for index, layer in enumerate(layers):
            check_kind(WHERE, f"layers[{index}]", layer, RNN, "a seqjax.nn.RNN layer")
            if layer.looks_ahead:
                raise ValueError(f"{WHERE}: `layers[{index}]` must run forwards, got reverse=True.")
            if layer.cell.draws_noise:  # which would be left out without a word
                raise ValueError(
                    f"{WHERE}: `layers[{index}]` must have a cell that draws no noise, got "
                    f"{layer.cell!r}. Use `dropout` of the decoder."
                )
        check_kind(WHERE, "attention", attention, Attention, "a seqjax.nn.Attention")
        check_rngs(WHERE, rngs)
        if not layers or not -len(layers) <= attend_from < len(layers):
            raise ValueError(
                f"{WHERE}: `attend_from` must be the index of a layer, got {attend_from} for "
                f"{len(layers)} layers."
            )
        self.attend_from = attend_from % len(layers)
        sizes = [layer.out_size for layer in layers]
        wanted = in_sizes(
            embedding.features, sizes, attention.memory_size, self.attend_from, input_feeding
        )
        if [layer.in_size for layer in layers] != wanted:
            raise ValueError(
                f"{WHERE}: the layers must read {wanted} features, got "
                f"{[layer.in_size for layer in layers]}."
            )
        if attention.query_size != sizes[self.attend_from]:
            raise ValueError(
                f"{WHERE}: `attention` must have query_size = "
                f"{sizes[self.attend_from]}, the out_size of layer {self.attend_from}, got "
                f"{attention.query_size}."
            )
        self.embedding = embedding
        self.layers = nnx.List(layers)
        self.attention = attention
        self.input_feeding = input_feeding
        self.dropout = make_dropout(WHERE, dropout)
        self.combine = nnx.Linear(
            attention.memory_size + sizes[-1],
            embedding.features,
            param_dtype=param_dtype,
            rngs=rngs,
        )
        self.bias = nnx.Param(jnp.zeros(embedding.vocab_size, param_dtype))

    def initial_state(self, batch_shape: tuple[int, ...], dtype: DTypeLike) -> DecoderState:
        """Returns the initial state of every layer, leaves (*batch_shape, ...)."""
        cells = tuple(
            layer.cell.initial_state(layer.cell_params(), batch_shape, dtype)
            for layer in self.layers
        )
        fed = jnp.zeros((*batch_shape, self.embedding.features), dtype)
        return DecoderState(cells, fed if self.input_feeding else None)

    def step(
        self, state: DecoderState, tokens: Array, memory: Memory
    ) -> tuple[DecoderState, Array, Array]:
        """Runs one step for K hypotheses per source.

        Args:
          state: the state before the step, leaves (B, K, ...).
          tokens: the previous tokens, integers (B, K).
          memory: memory of the sources, leaves (B, S, ...).

        Returns:
          The new state, the outputs (B, K, features) and the attention weights (B, K, S).

        Raises:
          ValueError: if a shape does not fit, or a known token is out of range.
        """
        self._check_state(state, tokens.shape)
        return self._step(state, self.embedding(tokens), memory, [None] * len(self.layers))

    def _step(
        self, state: DecoderState, xs: Array, memory: Memory, masks: Sequence[Array | None]
    ) -> tuple[DecoderState, Array, Array]:
        cells = []

        def run(layer: RNN, xs: Array, before: Any) -> Array:
            output, state = advance(layer.cell, layer.cell_params(), xs, before)
            cells.append(state)
            return output

        if state.fed is not None:
            xs = jnp.concatenate([xs, state.fed.astype(xs.dtype)], axis=-1)
        output, weights = self._wired(run, xs, state.cells, memory, masks)
        return DecoderState(tuple(cells), output if self.input_feeding else None), output, weights

    def __call__(
        self,
        state: DecoderState,
        tokens: Array,
        memory: Memory,
        *,
        lengths: Array | None = None,
        sampling_rate: float = 0.0,
        key: Array | None = None,
    ) -> tuple[DecoderState, Array, Array]:
        """Runs the decoder over known tokens (teacher forcing).

        Args:
          state: the state before the first step, leaves (B, 1, ...).
          tokens: the input token of each step, integers (B, T).
          memory: memory of the sources, leaves (B, S, ...).
          lengths: steps of each target, (B,). Outputs after the length are meaningless.
          sampling_rate: probability that a step reads a token sampled from the model's output at
            the previous step instead of the known token (scheduled sampling). Needs `key`.
          key: random key of dropout and sampling. Without it there is no dropout.

        Returns:
          The state after the last step of each target, the outputs (B, T, features) and the
          attention weights (B, T, S).

        Raises:
          ValueError: if a shape does not fit, a known token or length is out of range, or
            `sampling_rate` is not in [0, 1], or not 0 without a `key`.

        Reference: Bengio et al. (2015), Scheduled sampling for sequence prediction with recurrent
        neural networks.
        """
        if tokens.ndim != 2:
            raise ValueError(f"{WHERE}: `tokens` must have shape (B, T), got {tokens.shape}.")
        self._check_state(state, (tokens.shape[0], 1))
        if lengths is not None:
            lengths = checked_lengths(WHERE, lengths, tokens.shape[:1], tokens.shape[1])
        if not 0 <= sampling_rate <= 1:
            raise ValueError(f"{WHERE}: `sampling_rate` must lie in [0, 1], got {sampling_rate!r}.")
        if sampling_rate and key is None:
            raise ValueError(
                f"{WHERE}: `sampling_rate` needs a key, got None. Outside training, use "
                "sampling_rate=0."
            )
        masks: list[Array | None] = [None] * len(self.layers)
        embed_key, sample_key, output_key, *mask_keys = split_key(key, 3 + len(masks))
        if active(self.dropout, key):
            masks = [None, *(self._mask(k, tokens.shape[0]) for k in mask_keys[1:])]
        xs = self.embedding(tokens, key=embed_key)
        if self.input_feeding or sampling_rate:
            state, outputs, weights = self._in_turn(
                state, xs, memory, masks, lengths, sampling_rate, sample_key
            )
        else:
            state, outputs, weights = self._at_once(state, xs, memory, masks, lengths)
        return state, drop(self.dropout, outputs, output_key), weights

    def _check_state(self, state: Any, batch_shape: tuple[int, ...]) -> None:
        expected = jax.eval_shape(lambda: self.initial_state(batch_shape, jnp.float32))
        start = f"decoder.initial_state({batch_shape}, dtype)"
        check_state(WHERE, state, expected, batch_shape, start)

    def _mask(self, key: Any, batch: int) -> Array:
        """Draws a dropout mask for the features between two layers, (B, 1, H), scaled by 1/keep."""
        keep = 1 - self.dropout.rate
        size = max(layer.out_size for layer in self.layers)
        return jax.random.bernoulli(key, keep, (batch, 1, size)) / keep

    def _at_once(self, state, xs, memory, masks, lengths):
        finals = []

        def run(layer: RNN, xs: Array, before: Any) -> Array:
            ys, final = unroll(
                layer.cell,
                layer.cell_params(),
                xs.swapaxes(0, 1),
                initial_state=jax.tree.map(lambda leaf: leaf[:, 0], before),
                lengths=lengths,
                executor=layer.executor,
            )
            finals.append(jax.tree.map(lambda leaf: leaf[:, None], final))
            return ys.swapaxes(0, 1)

        outputs, weights = self._wired(run, xs, state.cells, memory, masks)
        return DecoderState(tuple(finals), None), outputs, weights

    def _in_turn(self, state, xs, memory, masks, lengths, sampling_rate, key):
        batch, steps = xs.shape[:2]
        drawn = jnp.zeros((steps, batch), bool)
        if sampling_rate:
            key, subkey = jax.random.split(key)
            drawn = jax.random.bernoulli(subkey, sampling_rate, drawn.shape).at[0].set(False)

        def one(carry, given):
            state, own = carry
            x, drawn, number = given
            own_key = embed_key = None
            if sampling_rate:
                own_key, embed_key = jax.random.split(jax.random.fold_in(key, number))
                x = jnp.where(drawn[:, None], self.embedding(own[:, None], key=embed_key)[:, 0], x)
            new, output, weights = self._step(state, x[:, None], memory, masks)
            if lengths is not None:
                inside = number < lengths
                new = jax.tree.map(lambda leaf, old: select(inside, leaf, old), new, state)
            if own_key is not None:
                own = jax.random.categorical(own_key, self.logits(output[:, 0]))
            return (new, own), (output[:, 0], weights[:, 0])

        given = (xs.swapaxes(0, 1), drawn, jnp.arange(steps))
        start = (state, jnp.zeros(batch, int))
        (state, _), (outputs, weights) = jax.lax.scan(one, start, given)
        return state, outputs.swapaxes(0, 1), weights.swapaxes(0, 1)

    def _wired(
        self,
        run: Callable[[RNN, Array, Any], Array],
        xs: Array,
        cells: Sequence[Any],
        memory: Memory,
        masks: Sequence[Array | None],
    ) -> tuple[Array, Array]:
        """Connects layers and attention; `run` runs one layer along axis 1 of `xs`."""
        wired = list(zip(self.layers, cells, masks, strict=True))
        for layer, before, mask in wired[: self.attend_from + 1]:
            xs = run(layer, _masked(xs, mask), before)
        context, weights = self.attention(xs, memory)
        for layer, before, mask in wired[self.attend_from + 1 :]:
            xs = run(layer, jnp.concatenate([_masked(xs, mask), context], axis=-1), before)
        return jnp.tanh(self.combine(jnp.concatenate([context, xs], axis=-1))), weights

    def logits(self, outputs: Array) -> Array:
        """Returns the logits of outputs (..., features), (..., vocab_size)."""
        return linear_logits(outputs, self.embedding.table.get_value(), self.bias[...])

    def cross_entropy(
        self, outputs: Array, targets: Array, *, label_smoothing: float = 0.0
    ) -> tuple[Array, Array]:
        """Returns the loss and the negative log-likelihood of each output.

        Args:
          outputs: shape (..., features).
          targets: integers of shape (...). Under `jax.jit`, a target out of range gives NaN.
          label_smoothing: probability mass moved from the target to all classes uniformly.

        Raises:
          ValueError: if a shape does not fit, or a known target is out of range.
        """
        table, bias = self.embedding.table.get_value(), self.bias[...]
        return linear_cross_entropy(outputs, table, bias, targets, label_smoothing=label_smoothing)


def _masked(xs: Array, mask: Array | None) -> Array:
    return xs if mask is None else xs * mask[..., : xs.shape[-1]].astype(xs.dtype)


def in_sizes(
    embedding_size: int,
    layer_sizes: Sequence[int],
    memory_size: int,
    attend_from: int,
    input_feeding: bool,
) -> list[int]:
    """Returns the in_size of each layer of an `AttentionDecoder`.

    Example:
      >>> in_sizes(8, [16, 16], 32, attend_from=0, input_feeding=False)
      [8, 48]
    """
    sizes = [embedding_size * (2 if input_feeding else 1)]
    for index, below in enumerate(layer_sizes[:-1]):
        sizes.append(below + memory_size * (index >= attend_from % len(layer_sizes)))
    return sizes
