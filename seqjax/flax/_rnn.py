"""`RNN`: the layer `flax.nnx.RNN`, with its signature and parameters, run by `seqjax.unroll`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from flax.nnx.nn.recurrent import flip_sequences
from jax import Array, lax

from seqjax._padding import checked_lengths
from seqjax._unroll import unroll
from seqjax.cells import Cell, HiddenState, LSTMState, elman, gru, lstm
from seqjax.cells._activations import ACTIVATIONS
from seqjax.convert import load_params
from seqjax.convert._conventions import FRAMEWORKS, Layout


class _Known(NamedTuple):
    """A cell of theirs: the maker of ours, from theirs, and where theirs keeps its arrays."""

    make: Callable[[Any], Cell]
    layout: Layout


def _elman(theirs: nnx.SimpleCell) -> Cell:
    return elman(theirs.hidden_features, activation=theirs.activation_fn)


def _gated(make: Callable[..., Cell]) -> Callable[[Any], Cell]:
    return lambda theirs: make(
        theirs.hidden_features, activation=theirs.activation_fn, gate_activation=theirs.gate_fn
    )


KNOWN = {
    getattr(nnx, layout.layer): _Known(make, layout)
    for kind, make in (("elman", _elman), ("lstm", _gated(lstm)), ("gru", _gated(gru)))
    for layout in FRAMEWORKS["nnx"].kinds[kind]
}

Bidirectional = nnx.Bidirectional
"""Flax's own: it runs two of our `RNN` as it runs two of Flax's."""


class RNN(nnx.RNN):
    """The layer `flax.nnx.RNN`, run by `seqjax.unroll` wherever both compute the same function.

    Constructor, call, parameters and checkpoints are those of `flax.nnx.RNN`. `refusal` tells
    which layers Flax runs itself. `unroll=` has no effect on the others.

    Two results differ. A sequence of length 0 returns its initial carry; in Flax, it returns the
    carry after all padded steps. Outputs at the padding are zero; in Flax, they are what the cell
    computes there.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from seqjax.flax import RNN
      >>> layer = RNN(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)), return_carry=True)
      >>> (c, h), ys = layer(jnp.ones((2, 5, 3)), seq_lengths=jnp.array([5, 0]))
      >>> ys.shape, bool((h[1] == 0).all())
      ((2, 5, 4), True)
    """

    def refusal(self) -> str | None:
        """Returns why Flax runs this layer itself, or None if `seqjax.unroll` does.

        Flax also runs a call that would compute or carry in another dtype than the parameters'.

        Example:
          >>> from flax import nnx
          >>> from seqjax.flax import RNN
          >>> RNN(nnx.SimpleCell(3, 4, residual=True, rngs=nnx.Rngs(0))).refusal()
          'the cell must not be residual'
        """
        cell: Any = self.cell
        if (known := KNOWN.get(type(cell))) is None:
            names = ", ".join(each.__name__ for each in KNOWN)
            return f"the cell must be one of {names}, got {type(cell).__name__}"
        functions = [getattr(cell, name, None) for name in ("activation_fn", "gate_fn")]
        if any(f is not None and f not in ACTIVATIONS.values() for f in functions):
            return f"activations must be among {', '.join(ACTIVATIONS)}"
        if getattr(cell, "residual", False):
            return "the cell must not be residual"
        if self.broadcast_rngs is not None or [*self.state_axes.items()] != [(..., nnx.Carry)]:
            return "broadcast_rngs and state_axes must be left out"
        names = {array.name for array in known.layout.arrays}
        if not all(_plain(cell, name, f"{name}/bias" in names) for name in _layers(known.layout)):
            return "the layers of the cell must be as its constructor makes them"
        dtypes = {array.dtype for array in _arrays(cell, known.layout).values()}
        dtypes |= set() if cell.dtype is None else {jnp.dtype(cell.dtype)}
        if dtypes not in ({jnp.dtype("float32")}, {jnp.dtype("float64")}):
            got = ", ".join(sorted(map(str, dtypes)))
            return f"parameters and products must be float32, or float64, got {got}"
        return None

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
    ) -> Any:
        """Runs the layer.

        Args:
          inputs: shape (*B, T, D), or (T, *B, D) if `time_major`.
          initial_carry: the carry before the first step; by default `cell.initialize_carry`.
          seq_lengths: valid steps of each sequence, integers of shape (*B,).
          return_carry: whether to return the carry after the last valid step too.
          time_major: whether time is the first axis.
          reverse: whether to run each sequence from its last valid step to its first.
          keep_order: whether the outputs of a reverse run stay at their own time; by default they
            stand in the order in which they were computed.
          rngs: given to `cell.initialize_carry`.

        Returns:
          Outputs (*B, T, H) or (T, *B, H), or `(carry, outputs)`. The carry is that of Flax:
          `(c, h)` for an LSTM, `h` for the others.

        Raises:
          ValueError: if a shape does not fit, or a length is out of range.
          TypeError: if `seq_lengths` are not integers.
        """
        options: dict[str, Any] = {
            "seq_lengths": seq_lengths,
            "return_carry": self.return_carry if return_carry is None else return_carry,
            "time_major": self.time_major if time_major is None else time_major,
            "reverse": self.reverse if reverse is None else reverse,
            "keep_order": self.keep_order if keep_order is None else keep_order,
        }
        if self.refusal() is not None:
            return super().__call__(inputs, initial_carry=initial_carry, rngs=rngs, **options)
        theirs: Any = self.cell
        time_axis = 0 if options["time_major"] else inputs.ndim - 2
        batch_shape = inputs.shape[:time_axis] + inputs.shape[time_axis + 1 : -1]
        carry = initial_carry
        if carry is None:
            rngs = self.rngs if rngs is None else rngs
            rngs = rngs.carry.fork() if isinstance(rngs, nnx.Rngs) else rngs
            carry = theirs.initialize_carry((*batch_shape, inputs.shape[-1]), rngs)
        known = KNOWN[type(theirs)]
        arrays = _arrays(theirs, known.layout)
        state, dtype = _state(carry), next(iter(arrays.values())).dtype
        promoted = dtype if theirs.dtype is not None else jnp.promote_types(inputs.dtype, dtype)
        if {promoted, *(array.dtype for array in state)} != {dtype}:
            return super().__call__(inputs, initial_carry=carry, **options)
        where, cell = "seqjax.flax.RNN", known.make(theirs)
        in_size, hidden = arrays[known.layout.arrays[0].name].shape[0], cell.hidden_size
        if inputs.shape[-1] != in_size:
            raise ValueError(
                f"{where}: `inputs` must have in_features = {in_size} on the last axis, got shape "
                f"{inputs.shape}."
            )
        expected = jax.tree.map(lambda _: (*batch_shape, hidden), cell.initial_state(None))
        if jax.tree.map(jnp.shape, state) != expected:
            raise ValueError(
                f"{where}: `initial_carry` must be {_carry(expected)}, arrays of these shapes, got "
                f"{jax.tree.map(jnp.shape, carry)}. Start from cell.initialize_carry."
            )
        if seq_lengths is not None:
            num_steps = inputs.shape[time_axis]
            seq_lengths = checked_lengths(where, seq_lengths, batch_shape, num_steps)
        ys, state = unroll(
            cell,
            load_params(cell, arrays, "nnx"),
            jnp.moveaxis(inputs, time_axis, 0).astype(dtype),
            initial_state=state,
            lengths=seq_lengths,
            reverse=options["reverse"],
        )
        ys = jnp.moveaxis(ys, 0, time_axis)
        if options["reverse"] and not options["keep_order"]:
            ys = flip_sequences(ys, seq_lengths, len(batch_shape), options["time_major"])
        return (_carry(state), ys) if options["return_carry"] else ys


def _layers(layout: Layout) -> list[str]:
    """Returns the names of the linear layers in a cell of theirs."""
    return sorted({array.name.partition("/")[0] for array in layout.arrays})


def _arrays(cell: Any, layout: Layout) -> dict[str, Array]:
    """Returns the parameters of their cell by the names of the layout."""
    pairs = ((array.name, *array.name.split("/")) for array in layout.arrays)
    return {name: getattr(getattr(cell, layer), kind)[...] for name, layer, kind in pairs}


def _plain(cell: Any, name: str, biased: bool) -> bool:
    """Returns whether a linear layer of their cell computes what the constructor means it to."""
    layer = getattr(cell, name)
    return (
        type(layer) is nnx.Linear
        and (layer.bias is not None) == biased
        and layer.dtype == cell.dtype
        and layer.precision is None
        and layer.preferred_element_type is None
        and layer.dot_general is lax.dot_general
        and layer.promote_dtype is promote_dtype
    )


def _state(carry: Any) -> LSTMState | HiddenState:
    """Returns our state; Flax's LSTM carries `(c, h)`."""
    if isinstance(carry, tuple | list):
        cell, hidden = map(jnp.asarray, carry)
        return LSTMState(hidden, cell)
    return HiddenState(jnp.asarray(carry))


def _carry(state: LSTMState | HiddenState) -> Any:
    """Returns a state as Flax carries it."""
    return (state.cell, state.hidden) if isinstance(state, LSTMState) else state.hidden
