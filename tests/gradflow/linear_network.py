"""A linear recurrent network, as a user would write it: everything about it is known."""

import jax.numpy as jnp
import numpy as np

from seqjax.cells import Cell, HiddenState

SIZE = 4


def linear_network(size: int = SIZE) -> Cell:
    """Makes the plain cell `h_t = h_{t-1} R + x_t`, whose parameters are `R` alone."""
    return Cell(
        name="linear_network",
        hidden_size=size,
        init=lambda key, in_size, dtype=jnp.float32: {"R": jnp.eye(size, dtype=dtype)},
        initial_state=lambda params, batch, dtype: HiddenState(jnp.zeros((*batch, size), dtype)),
        project=lambda params, x: x,
        step=lambda params, state, drive: HiddenState(state.hidden @ params["R"] + drive),
        output=lambda state: state.hidden,
    )


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
