"""S5: a diagonal of complex decays that come from a continuous-time system."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from seqjax._checks import check_sizes
from seqjax.cells._initializers import fan_in_normal, log_uniform
from seqjax.cells._linear import LinearCell
from seqjax.cells._operations import affine, check_features, check_in_size, check_steps


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class s5(LinearCell):
    """S5, the simplified state space layer: a continuous-time system, held between steps.

        a   = exp(L dt)
        h_t = a * h_{t-1} + (a - 1) / L * (B x_t)       h, a, L, B, C complex
        y_t = 2 Re(C h_t) + D * x_t

    `L` starts at the eigenvalues of the normal part of HiPPO-LegS, one matrix a block. They come
    in conjugate pairs and one of each pair is kept, hence the 2: `N / 2` states stand for `N`. `B`
    and `C` start at random real and complex matrices in the basis of the eigenvectors. `log dt`
    starts uniform. `a` stays in float32 under a narrower `dtype`.

    Differs from `lru`: the step size `dt` is learned, one a state, and `L` has no bound: its real
    part starts at -1/2. If in_size differs from hidden_size, `x` is a learned linear map of the
    input; otherwise it is the input.

    Args:
      hidden_size: features of the output, `H`.
      state_size: `N`, twice the complex states; by default the even number at or above `H`.
      blocks: HiPPO matrices along the diagonal, each of size `N / blocks`.
      min_step: smallest initial `dt`.
      max_step: largest initial `dt`.

    Raises:
      ValueError: if `2 * blocks` does not divide `state_size`, or not 0 < min_step < max_step.

    Example:
      >>> import jax, jax.numpy as jnp, seqjax
      >>> cell = seqjax.s5(4, state_size=6)
      >>> params = cell.init(jax.random.key(0), 3)
      >>> run = jax.jit(seqjax.unroll, static_argnums=0)
      >>> ys, state = run(cell, params, jnp.ones((7, 2, 3)))
      >>> ys.shape, state.hidden.shape, state.hidden.dtype
      ((7, 2, 4), (2, 3), dtype('complex64'))

    Reference: Smith, Warrington and Linderman (2023), Simplified state space layers for sequence
    modeling.
    """

    state_size: int | None = None
    blocks: int = 1
    min_step: float = 0.001
    max_step: float = 0.1
    complex_state, full_precision = True, ("decay",)

    def __post_init__(self):
        super().__post_init__()
        check_steps("s5", self.min_step, self.max_step)
        check_sizes("seqjax.s5", state_size=self._size, blocks=self.blocks)
        if self._size % (2 * self.blocks):
            raise ValueError(
                f"seqjax.s5: `state_size` must be a multiple of 2 * blocks = "
                f"{2 * self.blocks}, got {self._size}."
            )

    @property
    def _size(self):
        even = self.hidden_size + self.hidden_size % 2
        return even if self.state_size is None else self.state_size

    @property
    def state_shape(self):
        return (self._size // 2,)

    def init(self, key, in_size, dtype=jnp.float32):
        check_in_size("s5", in_size)
        keys, units, size = jax.random.split(key, 6), self.hidden_size, self._size
        frequency, vectors = _hippo(size // self.blocks)
        vectors = np.kron(np.eye(self.blocks), vectors)  # (N, N / 2)
        drive = fan_in_normal(keys[0], (units, size)) @ vectors.conj()
        real, imag = (fan_in_normal(k, (size, units)) for k in jax.random.split(keys[1]))
        read = vectors.T @ lax.complex(real, imag)
        params = {
            "rate": jnp.full(size // 2, -0.5),
            "frequency": jnp.tile(frequency, self.blocks),
            "log_step": jnp.log(log_uniform(keys[2], (size // 2,), self.min_step, self.max_step)),
            # Columns of B, and rows of C: real parts, then imaginary parts.
            "input_kernel": jnp.concatenate([drive.real, drive.imag], axis=-1),
            "output_kernel": jnp.concatenate([read.real, read.imag]),
            "skip": jax.random.normal(keys[3], (units,)),
        }
        if in_size != units:
            params["map_kernel"] = fan_in_normal(keys[4], (in_size, units))
        return jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def prepare(self, params):
        step = jnp.exp(params["log_step"])
        exponent = lax.complex(params["rate"] * step, params["frequency"] * step)
        real, imag = jnp.split(params["input_kernel"], 2, axis=-1)
        drive = lax.complex(real, imag) * (step * _mean_decay(exponent))[None]
        kernel = jnp.concatenate([drive.real, drive.imag], axis=-1)
        if "map_kernel" in params:  # one product for both
            kernel = params["map_kernel"] @ kernel
        return params | {"decay": jnp.exp(exponent), "drive_kernel": kernel}

    def coefficients(self, params, xs):  # pyright: ignore[reportIncompatibleMethodOverride]
        check_features("s5", xs, params["drive_kernel"])
        drive = lax.complex(*jnp.split(affine(xs, params["drive_kernel"]), 2, axis=-1))
        return params["decay"].reshape(*(1,) * (xs.ndim - 1), -1), drive  # constant in time

    def output(self, params, states, xs):
        parts = jnp.concatenate([states.hidden.real, -states.hidden.imag], axis=-1)
        xs = affine(xs, params["map_kernel"]) if "map_kernel" in params else xs
        ys = 2 * affine(parts, params["output_kernel"])
        return ys + jnp.broadcast_to(params["skip"], xs.shape) * xs


def _hippo(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns half the frequencies of HiPPO-LegS and their eigenvectors (size, size / 2)."""
    place = np.arange(size)
    root = np.sqrt(2 * place + 1)
    # The matrix plus a matrix of rank 1 is -1/2 plus a skew-symmetric matrix, which this is.
    skew = 0.5 * np.outer(root, root) * np.sign(place[None] - place[:, None])
    frequency, vectors = np.linalg.eigh(-1j * skew)
    return frequency[size // 2 :], vectors[:, size // 2 :]


def _mean_decay(z: Array) -> Array:
    """Returns `(exp(z) - 1) / z`, exactly near 0: the mean of `exp(z t)` over one step."""
    small = jnp.abs(z) < 1e-4
    safe = jnp.where(small, 1, z)
    return jnp.where(small, 1 + z / 2 + z**2 / 6, jnp.expm1(safe) / safe)
