"""Flax NNX: `nnx.RNN` and `nnx.Bidirectional`, time first."""

import flax
import jax
import jax.numpy as jnp
from flax import nnx

from peers import Case
from peers.jax_program import jax_program, negated_update

VERSIONS = {"flax": flax.__version__, "jax": jax.__version__}
CELLS: dict[str, str] = {"gru": "gru_no_recurrent_bias"}
LAYERS = {
    "rnn": nnx.SimpleCell,
    "lstm": nnx.OptimizedLSTMCell,
    "gru_no_recurrent_bias": nnx.GRUCell,
}


def build(case: Case, weights, xs, cotangent, rnn=nnx.RNN, **options):
    """Makes the program of a layer like `nnx.RNN`; `options` are those of `jax_program`."""
    rngs = nnx.Rngs(0)

    def layer():
        cell = LAYERS[case.cell](case.in_size, case.hidden_size, rngs=rngs)
        return rnn(cell, time_major=True)

    model = nnx.Bidirectional(layer(), layer(), time_major=True) if case.bidirectional else layer()
    graph, own, rest = nnx.split(model, nnx.Param, ...)

    def place(weights):
        """The LSTM's bias is that of its recurrent layer, the others' that of the input layer."""
        named = {}
        layers = ("['forward_rnn']", "['backward_rnn']") if case.bidirectional else ("",)
        order = negated_update if case.cell.startswith("gru") else jnp.asarray
        biased = "dense_h" if case.cell == "lstm" else "dense_i"
        for layer, direction in zip(layers, weights, strict=True):
            for name, leaf in (
                ("['dense_i']['kernel']", direction["input_kernel"]),
                ("['dense_h']['kernel']", direction["recurrent_kernel"]),
                (f"['{biased}']['bias']", direction["bias"]),
            ):
                named[f"{layer}['cell']{name}.value"] = order(leaf)
        return jax.tree_util.tree_map_with_path(
            lambda path, _: named[jax.tree_util.keystr(path)], own
        )

    zeros = jnp.zeros((case.batch, case.hidden_size))
    carry = (zeros, zeros) if case.cell == "lstm" else zeros
    # Given, since the layer would otherwise ask its random stream, which a trace may not change.
    carry = (carry, carry) if case.bidirectional else carry

    def run(own, xs):
        return nnx.merge(graph, own, rest)(xs, initial_carry=carry)

    return jax_program(run, place, weights, xs, cotangent, **options)


def start(cores: int) -> None:
    """Nothing to do: one device, whose products use every core."""
