"""Where every framework keeps the weights of a layer: one table, and nothing else knows more.

A layer's weights are blocks, one for each role and gate: the input kernel (D, H), the recurrent
kernel (H, H), the bias of the input's part (H,) and the bias of the recurrent part (H,). A `Layout`
says in which arrays the blocks stand. Ours is one of them, so that reading and writing, there and
here, are the same two functions (`blocks.py`).

The equations behind the blocks are those of `seqjax.cells`. Where a framework's gate is the
complement of ours (everyone else's `z` weighs the old state of a GRU), it is listed as `negated`:
`1 - sigmoid(a) = sigmoid(-a)`.
"""

from typing import NamedTuple

KERNEL, RECURRENT, BIAS, RECURRENT_BIAS = ROLES = (
    "input_kernel",
    "recurrent_kernel",
    "bias",
    "recurrent_bias",
)


class ArrayLayout(NamedTuple):
    """One array, or one row of it.

    Attributes:
      name: the array's name inside its layer; `{layer}` and `{direction}` where the framework
        keeps several layers together.
      role: which block of each gate it holds.
      gates: the gates side by side in it, by our names.
      transposed: whether outputs are rows.
      row: which row of an array with one more axis it is, or None.
    """

    name: str
    role: str
    gates: tuple[str, ...]
    transposed: bool = False
    row: int | None = None


class Layout(NamedTuple):
    """All arrays of one kind of layer.

    Attributes:
      layer: the framework's name of the layer.
      arrays: where the blocks stand, in the framework's order.
      negated: gates whose sign is the other way round.
    """

    layer: str
    arrays: tuple[ArrayLayout, ...]
    negated: tuple[str, ...] = ()


class Framework(NamedTuple):
    """How a framework names and holds the layers of a model.

    Attributes:
      title: its name in messages.
      kinds: layouts by kind of layer; the first is written where none is given to follow.
      separators: the characters between the parts of a name; the first is the one written.
      together: whether layers and directions stand in one layer, told apart by `{layer}` and
        `{direction}`.
      directions: how the names of a forward and a backward layer begin, or where `together` what
        `{direction}` is for each.
      cell_name: what stands between a recurrent layer and its arrays where names are made up.
      in_order: whether weights may come as a list, in the order of the layers.
      nested: whether weights are written as nested mappings.
    """

    title: str
    kinds: dict[str, tuple[Layout, ...]]
    separators: str
    together: bool = False
    directions: tuple[str, str] = ("forward", "backward")
    cell_name: str = ""
    in_order: bool = False
    nested: bool = False


_LSTM = ("input", "forget", "candidate", "output")
_GRU = ("update", "reset", "candidate")
_RESET_FIRST = ("reset", "update", "candidate")
_OUT = ("output",)  # of a layer without gates


def _joined(
    gates: tuple[str, ...], *names: str, roles: tuple[str, ...] = ROLES, transposed: bool = False
) -> tuple[ArrayLayout, ...]:
    """Returns arrays that hold all gates side by side, one a role; a bias is never transposed."""
    return tuple(
        ArrayLayout(name, role, gates, transposed and role in (KERNEL, RECURRENT))
        for name, role in zip(names, roles, strict=False)
    )


def _separate(
    gates: tuple[str, ...], inputs: str, states: str, *, biased: str
) -> tuple[ArrayLayout, ...]:
    """Returns arrays that hold one gate each: dense layers of the input and of the state."""
    arrays = []
    for names, kernel, bias in ((inputs, KERNEL, BIAS), (states, RECURRENT, RECURRENT_BIAS)):
        for name, gate in zip(names.split(), gates, strict=True):
            arrays.append(ArrayLayout(f"{name}/kernel", kernel, (gate,)))
            if name in biased.split():
                arrays.append(ArrayLayout(f"{name}/bias", bias, (gate,)))
    return tuple(arrays)


def _layout(layer: str, arrays: tuple[ArrayLayout, ...]) -> Layout:
    """Returns a layout of theirs, in which an update gate is the complement of ours."""
    return Layout(layer, arrays, tuple({"update"} & {g for array in arrays for g in array.gates}))


def _torch(gates: tuple[str, ...], layer: str) -> list[Layout]:
    """Returns the layouts of a PyTorch layer, and of the cell that runs one step of it."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [
        _layout(layer + kind, _joined(gates, *(name + end for name in names), transposed=True))
        for kind, end in (("", "_l{layer}{direction}"), ("Cell", ""))
    ]


def _keras(gates: tuple[str, ...], layer: str) -> Layout:
    return _layout(layer, _joined(gates, "kernel", "recurrent_kernel", "bias"))


def _flax(gates: tuple[str, ...], layer: str, inputs: str, states: str, biased: str) -> Layout:
    return _layout(layer, _separate(gates, inputs, states, biased=biased))


def _nnx(gates: tuple[str, ...], layer: str) -> Layout:
    return _layout(layer, _joined(gates, "dense_i/kernel", "dense_h/kernel", "dense_i/bias"))


def _dense(layer: str, kernel: str = "kernel", *, transposed: bool = False) -> Layout:
    return Layout(layer, _joined(_OUT, kernel, "bias", roles=(KERNEL, BIAS), transposed=transposed))


def _embedding(layer: str, table: str) -> Layout:
    return Layout(layer, _joined(_OUT, table))


def _kinds(**kinds: Layout | list[Layout]) -> dict[str, tuple[Layout, ...]]:
    return {
        kind: (layouts,) if isinstance(layouts, Layout) else tuple(layouts)
        for kind, layouts in kinds.items()
    }


def _ours(gates: tuple[str, ...], separate: tuple[str, ...] = ()) -> Layout:
    recurrent_bias = ArrayLayout("recurrent_bias", RECURRENT_BIAS, separate)
    arrays = _joined(gates, *ROLES[:3])
    return Layout("GatedParams", (*arrays, recurrent_bias) if separate else arrays)


OURS: dict[str, Layout] = {
    "elman": _ours(("hidden",)),
    "lstm": _ours(_LSTM),
    "gru": _ours(_GRU, separate=("candidate",)),
    "gru_reset_before": _ours(_GRU),
    "linear": _dense("nnx.Linear"),
    "embedding": _embedding("Embedding", "table"),
}

_KERAS_GRU = (
    *_joined(_GRU, "kernel", "recurrent_kernel"),
    ArrayLayout("bias", BIAS, _GRU, row=0),
    ArrayLayout("bias", RECURRENT_BIAS, _GRU, row=1),
)
_NNX_LSTM = _joined(
    _LSTM,
    "dense_i/kernel",
    "dense_h/kernel",
    "dense_h/bias",
    roles=(KERNEL, RECURRENT, RECURRENT_BIAS),
)
_LINEN = Framework(
    title="Flax linen",
    separators="/.",
    nested=True,
    cell_name="cell",
    directions=("forward_rnn", "backward_rnn"),
    kinds=_kinds(
        elman=_flax(("hidden",), "SimpleCell", "i", "h", "i"),
        lstm=_flax(_LSTM, "LSTMCell", "ii if ig io", "hi hf hg ho", "hi hf hg ho"),
        gru=_flax(_RESET_FIRST, "GRUCell", "ir iz in", "hr hz hn", "ir iz in hn"),
        linear=_dense("Dense"),
        embedding=_embedding("Embed", "embedding"),
    ),
)

FRAMEWORKS: dict[str, Framework] = {
    "torch": Framework(
        title="PyTorch",
        separators=".",
        together=True,
        directions=("", "_reverse"),
        kinds=_kinds(
            elman=_torch(("hidden",), "RNN"),
            lstm=_torch(_LSTM, "LSTM"),
            gru=_torch(_RESET_FIRST, "GRU"),
            linear=_dense("Linear", "weight", transposed=True),
            embedding=_embedding("Embedding", "weight"),
        ),
    ),
    "keras": Framework(
        title="Keras",
        separators="/",
        in_order=True,
        kinds=_kinds(
            elman=_keras(("hidden",), "SimpleRNN"),
            lstm=_keras(_LSTM, "LSTM"),
            gru=_layout("GRU(reset_after=True)", _KERAS_GRU),
            gru_reset_before=_keras(_GRU, "GRU(reset_after=False)"),
            linear=_dense("Dense"),
            embedding=_embedding("Embedding", "embeddings"),
        ),
    ),
    "linen": _LINEN,
    "nnx": _LINEN._replace(
        title="Flax NNX",
        kinds=_kinds(
            elman=_nnx(("hidden",), "SimpleCell"),
            lstm=[
                _layout("OptimizedLSTMCell", _NNX_LSTM),
                _flax(_LSTM, "LSTMCell", "ii if_ ig io", "hi hf hg ho", "hi hf hg ho"),
            ],
            gru=_nnx(_RESET_FIRST, "GRUCell"),
            linear=_dense("Linear"),
            embedding=_embedding("Embed", "embedding"),
        ),
    ),
}
