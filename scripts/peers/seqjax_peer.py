"""seqjax: the ordinary path, the batch split over a CPU device a core."""

import functools
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import seqjax
from peers import LINEAR_CELLS, Case, Program, Weights
from peers.jax_program import jax_program
from seqjax.train import data_mesh, use_all_cores

VERSIONS = {"seqjax": metadata.version("seqjax"), "jax": jax.__version__}


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
    **{name: getattr(seqjax, name) for name in LINEAR_CELLS if hasattr(seqjax, name)},
}
CELLS = {name: name if name in MAKERS else "" for name in ("own", *LINEAR_CELLS)}


def place(case: Case, weights):
    """Puts weights where the cell has them; a leaf without a weight, as a bias, is zero."""
    cell = MAKERS[case.cell](case.hidden_size)
    template = jax.eval_shape(lambda: cell.init(jax.random.key(0), case.in_size))

    def placed(direction):
        def weight(path, leaf):
            given = direction.get(leaf_name(path))
            return jnp.zeros(leaf.shape, leaf.dtype) if given is None else given

        return jax.tree_util.tree_map_with_path(weight, template)

    return [placed(direction) for direction in weights]


def draw(case: Case) -> list[Weights]:
    """Draws weights as the cell does, its vectors moved away from where they start, as from 0."""
    params = MAKERS[case.cell](case.hidden_size).init(jax.random.key(0), case.in_size)
    rng = np.random.default_rng(0)
    weights = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        moved = 0.1 * rng.standard_normal(leaf.shape) if leaf.ndim == 1 else 0.0
        weights[leaf_name(path)] = np.asarray(leaf + moved, np.float32)
    return [weights]


def leaf_name(path) -> str:
    """Returns the name of a leaf of the parameters, such as `input_kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def over_cores(batch: int):
    """Returns `put(tree, axis)`, which splits a batch over the cores, and a wrapper of calls."""
    mesh = data_mesh(batch)

    def put(tree, axis):
        spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, "batch")
        return jax.device_put(tree, NamedSharding(mesh, spec))

    def in_mesh(call):
        """`unroll` reads off the ambient mesh over how many devices the batch is split."""

        def called():
            with jax.set_mesh(mesh):
                return call()

        return called

    return put, in_mesh


def build(case: Case, weights, xs, cotangent, **options):
    """Makes the program; `options` are those of `seqjax.unroll`."""
    cell = MAKERS[case.cell](case.hidden_size)
    put, in_mesh = over_cores(case.batch)

    def run(params, xs):
        ys = [
            seqjax.unroll(cell, each, xs, reverse=bool(index), **options)[0]
            for index, each in enumerate(params)
        ]
        return ys[0] if len(ys) == 1 else jnp.concatenate(ys, axis=-1)

    own = functools.partial(place, case)
    return Program(*map(in_mesh, jax_program(run, own, weights, xs, cotangent, put=put)))


def start(cores: int) -> None:
    """Called before anything else."""
    use_all_cores(cores)
