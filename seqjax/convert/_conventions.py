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


def _torch(gates: tuple[str, ...], layer: str, negated: tuple[str, ...] = ()) -> tuple[Layout, ...]:
    """Returns the layouts of a PyTorch layer, and of the cell that runs one step of it."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return tuple(
        Layout(layer + kind, _joined(gates, *(n + end for n in names), transposed=True), negated)
        for kind, end in (("", "_l{layer}{direction}"), ("Cell", ""))
    )


def _keras(gates: tuple[str, ...], layer: str, negated: tuple[str, ...] = ()) -> Layout:
    names = ("kernel", "recurrent_kernel", "bias")
    return Layout(layer, _joined(gates, *names), negated)


def _dense_and_embed(dense: str, embed: str, table: str) -> dict[str, tuple[Layout, ...]]:
    return {
        "linear": (Layout(dense, _joined(_OUT, "kernel", "bias", roles=(KERNEL, BIAS))),),
        "embedding": (Layout(embed, _joined(_OUT, table)),),
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
    "linear": Layout("nnx.Linear", _joined(_OUT, "kernel", "bias", roles=(KERNEL, BIAS))),
    "embedding": Layout("Embedding", _joined(_OUT, "table")),
}

FRAMEWORKS: dict[str, Framework] = {
    "torch": Framework(
        title="PyTorch",
        separators=".",
        together=True,
        directions=("", "_reverse"),
        kinds={
            "elman": _torch(("hidden",), "RNN"),
            "lstm": _torch(_LSTM, "LSTM"),
            "gru": _torch(_RESET_FIRST, "GRU", negated=("update",)),
            "linear": (
                Layout(
                    "Linear", _joined(_OUT, "weight", "bias", roles=(KERNEL, BIAS), transposed=True)
                ),
            ),
            "embedding": (Layout("Embedding", _joined(_OUT, "weight")),),
        },
    ),
    "keras": Framework(
        title="Keras",
        separators="/",
        in_order=True,
        kinds={
            "elman": (_keras(("hidden",), "SimpleRNN"),),
            "lstm": (_keras(_LSTM, "LSTM"),),
            "gru": (
                Layout(
                    "GRU(reset_after=True)",
                    (
                        *_joined(_GRU, "kernel", "recurrent_kernel"),
                        ArrayLayout("bias", BIAS, _GRU, row=0),
                        ArrayLayout("bias", RECURRENT_BIAS, _GRU, row=1),
                    ),
                    negated=("update",),
                ),
            ),
            "gru_reset_before": (_keras(_GRU, "GRU(reset_after=False)", negated=("update",)),),
            **_dense_and_embed("Dense", "Embedding", "embeddings"),
        },
    ),
    "linen": Framework(
        title="Flax linen",
        separators="/.",
        nested=True,
        cell_name="cell",
        directions=("forward_rnn", "backward_rnn"),
        kinds={
            "elman": (Layout("SimpleCell", _separate(("hidden",), "i", "h", biased="i")),),
            "lstm": (
                Layout(
                    "LSTMCell", _separate(_LSTM, "ii if ig io", "hi hf hg ho", biased="hi hf hg ho")
                ),
            ),
            "gru": (
                Layout(
                    "GRUCell",
                    _separate(_RESET_FIRST, "ir iz in", "hr hz hn", biased="ir iz in hn"),
                    negated=("update",),
                ),
            ),
            **_dense_and_embed("Dense", "Embed", "embedding"),
        },
    ),
    "nnx": Framework(
        title="Flax NNX",
        separators="/.",
        nested=True,
        cell_name="cell",
        directions=("forward_rnn", "backward_rnn"),
        kinds={
            "elman": (
                Layout(
                    "SimpleCell",
                    _joined(("hidden",), "dense_i/kernel", "dense_h/kernel", "dense_i/bias"),
                ),
            ),
            "lstm": (
                Layout(
                    "OptimizedLSTMCell",
                    _joined(
                        _LSTM,
                        "dense_i/kernel",
                        "dense_h/kernel",
                        "dense_h/bias",
                        roles=(KERNEL, RECURRENT, RECURRENT_BIAS),
                    ),
                ),
                Layout(
                    "LSTMCell",
                    _separate(_LSTM, "ii if_ ig io", "hi hf hg ho", biased="hi hf hg ho"),
                ),
            ),
            "gru": (
                Layout(
                    "GRUCell",
                    _joined(_RESET_FIRST, "dense_i/kernel", "dense_h/kernel", "dense_i/bias"),
                    negated=("update",),
                ),
            ),
            **_dense_and_embed("Linear", "Embed", "embedding"),
        },
    ),
}
