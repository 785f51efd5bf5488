"""`seqjax.flax.RNN` in the program of Flax: their modules and parameters, on one device."""

from flax import nnx

import seqjax.flax
from peers import Case, flax_peer

VERSIONS = flax_peer.VERSIONS
CELLS = flax_peer.CELLS
start = flax_peer.start


def build(case: Case, weights, xs, cotangent, **options):
    """Makes the program; a case that Flax would run itself is no measurement of ours."""
    cell = flax_peer.LAYERS[case.cell](case.in_size, case.hidden_size, rngs=nnx.Rngs(0))
    if reason := seqjax.flax.RNN(cell).refusal():
        raise RuntimeError(reason)
    return flax_peer.build(case, weights, xs, cotangent, rnn=seqjax.flax.RNN, **options)
