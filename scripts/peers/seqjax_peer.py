"""seqjax: the ordinary path, the batch split over a CPU device a core."""

import functools
from importlib import metadata

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

import seqjax
from peers import Case
from peers.jax_program import jax_program
from seqjax.train import data_mesh, use_all_cores

VERSIONS = {"seqjax": metadata.version("seqjax"), "jax": jax.__version__}
CELLS: dict[str, str] = {}


def own_cell(hidden_size: int) -> seqjax.cells.GatedCell:
    """A user's cell in ten lines: an LSTM whose input gate is what the forget gate leaves."""

    def update(state, forget, candidate, output):
        f, o = jax.nn.sigmoid(forget), jax.nn.sigmoid(output)
        cell = f * state.cell + (1 - f) * jnp.tanh(candidate)
        return state._replace(hidden=o * jnp.tanh(cell), cell=cell)

    gates = ("forget", "candidate", "output")
    return seqjax.gated_cell(
        "own", hidden_size, gates=gates, update=update, state=seqjax.cells.LSTMState
    )


MAKERS = {
    "rnn": seqjax.elman,
    "rnn_relu": functools.partial(seqjax.elman, activation="relu"),
    "lstm": seqjax.lstm,
    "gru": seqjax.gru,
    "gru_no_recurrent_bias": seqjax.gru,
    "gru_reset_before": functools.partial(seqjax.gru, reset_after=False),
    "own": own_cell,
}


def build(case: Case, weights, xs, cotangent, executor: str = "auto"):
    """Makes the program."""
    cell = MAKERS[case.cell](case.hidden_size)
    mesh = data_mesh(case.batch)

    def put(tree, axis):
        spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, "batch")
        return jax.device_put(tree, NamedSharding(mesh, spec))

    def place(weights):
        return [
            seqjax.cells.GatedParams(
                direction["input_kernel"],
                direction["recurrent_kernel"],
                direction["bias"],
                direction.get("recurrent_bias"),
                None,
            )
            for direction in weights
        ]

    def run(params, xs):
        ys = [
            seqjax.unroll(cell, each, xs, reverse=bool(index), executor=executor)[0]
            for index, each in enumerate(params)
        ]
        return ys[0] if len(ys) == 1 else jnp.concatenate(ys, axis=-1)

    return jax_program(run, place, weights, xs, cotangent, put=put)


def start(cores: int) -> None:
    """Called before anything else."""
    use_all_cores(cores)
