"""What other libraries do with a linear cell: `lax.associative_scan`, differentiated by JAX.

The cell gives its coefficients for all steps at once. Nothing else of seqjax runs: neither
`seqjax.unroll` nor its backward pass, and the batch stays on one device.
"""

import functools

import jax
import jax.numpy as jnp

from peers import LINEAR_CELLS, USUAL_CELLS, Case, seqjax_peer
from peers.jax_program import jax_program
from seqjax.cells import HiddenState

VERSIONS = {"jax": jax.__version__}
CELLS = {
    **dict.fromkeys(USUAL_CELLS, ""),
    **{name: seqjax_peer.CELLS[name] for name in LINEAR_CELLS},
}


def linear_recurrence(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns `h[t] = a[t] * h[t-1] + b[t]` from `h = 0`, time first."""

    def combine(earlier, later):
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    return jax.lax.associative_scan(combine, (a, b))[1]


def build(case: Case, weights, xs, cotangent):
    """Makes the program."""
    cell = seqjax_peer.MAKERS[case.cell](case.hidden_size)

    def run(directions, xs):
        (params,) = directions
        params = cell.prepare(params)
        starts = ()
        if cell.uses_starts:
            starts = (jnp.zeros((*xs.shape[:-1], 1), bool).at[0].set(True),)
        a, b = cell.coefficients(params, xs, *starts)
        h = linear_recurrence(jnp.broadcast_to(a, b.shape), b)
        return cell.output(params, HiddenState(h), xs)

    place = functools.partial(seqjax_peer.place, case)
    return jax_program(run, place, weights, xs, cotangent)


def start(cores: int) -> None:
    """Nothing to do: one device, whose products use every core."""
