"""A linear recurrent network, as a user would write it: everything about it is known."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from seqjax.cells import Cell, HiddenState

SIZE = 4


@dataclasses.dataclass(frozen=True, repr=False)
class LinearNetwork(Cell):
    """The plain cell `h_t = h_{t-1} R + x_t`, whose parameters are `R` alone."""

    hidden_size: int = SIZE

    def init(self, key, in_size, dtype=jnp.float32):
        return {"R": jnp.eye(self.hidden_size, dtype=dtype)}

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def step(self, params, state, drive):
        return HiddenState(state.hidden @ params["R"] + drive)


def normal_matrix(eigenvalues, seed=0):
    """Returns a symmetric matrix with these eigenvalues; its singular values are their sizes."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    return basis @ np.diag(eigenvalues) @ basis.T


def non_normal_matrix(eigenvalues, seed=0):
    """Returns a matrix with these eigenvalues and far larger singular values."""
    rng = np.random.default_rng(seed)
    size = len(eigenvalues)
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    return basis @ (np.diag(eigenvalues) + np.triu(3 * rng.normal(size=(size, size)), 1)) @ basis.T
