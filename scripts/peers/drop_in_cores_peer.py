"""`seqjax.flax.RNN` in the program of Flax, the batch split over a CPU device a core."""

from peers import Case, Program, drop_in_peer, seqjax_peer

VERSIONS = drop_in_peer.VERSIONS
CELLS = drop_in_peer.CELLS
start = seqjax_peer.start


def build(case: Case, weights, xs, cotangent):
    """Makes the program."""
    put, in_mesh = seqjax_peer.over_cores(case.batch)
    program = drop_in_peer.build(case, weights, xs, cotangent, put=put)
    return Program(*map(in_mesh, program))
