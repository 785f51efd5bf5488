"""Equinox: `eqx.nn.LSTMCell` and `GRUCell`, mapped over the batch, scanned by `lax.scan`."""

import equinox as eqx  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp

from peers import Case
from peers.jax_program import jax_program, negated_update

VERSIONS = {"equinox": eqx.__version__, "jax": jax.__version__}
CELLS: dict[str, str] = {"rnn": ""}  # it has none
LAYERS = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}


def build(case: Case, weights, xs, cotangent):
    """Makes the program."""
    template = LAYERS[case.cell](case.in_size, case.hidden_size, key=jax.random.key(0))

    def layer(cell, xs, reverse):
        start = jnp.zeros((xs.shape[1], case.hidden_size))

        def step(state, x):
            new = jax.vmap(cell)(x, state)
            return new, (new[0] if case.cell == "lstm" else new)

        state = (start, start) if case.cell == "lstm" else start
        return jax.lax.scan(step, state, xs, reverse=reverse)[1]

    def run(cells, xs):
        ys = [layer(cell, xs, bool(index)) for index, cell in enumerate(cells)]
        return ys[0] if len(ys) == 1 else jnp.concatenate(ys, axis=-1)

    def place(weights):
        """Rows are outputs; the GRU's gates are r z n, and its `z` weighs the old state."""
        cells = []
        for direction in weights:
            order = negated_update if case.cell == "gru" else (lambda columns: columns)
            values = [order(direction[n]) for n in ("input_kernel", "recurrent_kernel", "bias")]
            values = [values[0].T, values[1].T, values[2]]
            leaves = ["weight_ih", "weight_hh", "bias"]
            if case.cell == "gru":
                values.append(direction["recurrent_bias"])
                leaves.append("bias_n")
            cells.append(
                eqx.tree_at(lambda c, ls=leaves: [getattr(c, n) for n in ls], template, values)
            )
        return cells

    return jax_program(run, place, weights, xs, cotangent)


def start(cores: int) -> None:
    """Nothing to do: one device, whose products use every core."""
