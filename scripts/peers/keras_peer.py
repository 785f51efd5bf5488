"""Keras 3 on JAX, batch first as its layers are."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras  # pyright: ignore[reportMissingImports]

from peers import Case
from peers.jax_program import jax_program, negated_update

VERSIONS = {"keras": keras.__version__, "jax": jax.__version__}
CELLS: dict[str, str] = {}
LAYERS = {
    "rnn": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
}


def place(weights):
    """Gates i f c o, or z r h with `z` weighing the old state; the GRU's two biases in two rows."""
    leaves = []
    for direction in weights:
        values = [direction["input_kernel"], direction["recurrent_kernel"], direction["bias"]]
        if "recurrent_bias" in direction:
            values = [negated_update(value, (0, 1, 2)) for value in values]
            zeros = jnp.zeros(2 * len(direction["recurrent_bias"]))
            second = jnp.concatenate([zeros, direction["recurrent_bias"]])
            values[2] = jnp.stack([values[2], second])
        leaves += values
    return leaves


def build(case: Case, weights, xs, cotangent):
    """Makes the program."""
    layer = LAYERS[case.cell](case.hidden_size, return_sequences=True)
    layer = keras.layers.Bidirectional(layer) if case.bidirectional else layer
    layer.build((case.batch, case.steps, case.in_size))
    others = [variable.value for variable in layer.non_trainable_variables]

    def run(own, xs):
        return layer.stateless_call(own, others, xs)[0]

    return jax_program(run, place, weights, xs, cotangent, batch_first=True)


def start(cores: int) -> None:
    """Nothing to do: one device, whose products use every core."""
