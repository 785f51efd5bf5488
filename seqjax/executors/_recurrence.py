"""What the two ways of running a linear recurrence in parallel share: cuts, and the derivative."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from seqjax.executors._transposable import linear_map

Decays = tuple[Array, Array | None]
"""The decays `a` (T, ...), and the cuts: where a step drops the state before it, or None."""


def cuts_of(resets: Array | None, b: Array) -> Array | None:
    """Returns resets (T, *B) with axes of size 1 for the axes of `b` that they lack."""
    return None if resets is None else resets.reshape(*resets.shape, *(1,) * (b.ndim - resets.ndim))


Product = Callable[[Array, Array], Array]
"""The product of a decay with a state, or with an earlier decay: of numbers, or of matrices."""


def passed(decay: Array, state: Array, cut: Array | None, product: Product = operator.mul) -> Array:
    """Returns what a step keeps of the state before it."""
    # A zero decay alone is not enough: zero times a non-finite state is NaN.
    return uncut(product(decay, state), cut)


def uncut(values: Array, cut: Array | None) -> Array:
    """Returns the values, with zeros where there is a cut."""
    return values if cut is None else jnp.where(cut, 0, values)


def combined(product: Product, left: Any, right: Any) -> Any:
    """Combines `(decay, term to add, cut)` of earlier steps with that of later ones."""
    (a, b, cut), (a_right, b_right, cut_right) = left, right
    cut = None if cut is None else cut | cut_right
    return product(a_right, a), passed(a_right, b, cut_right, product) + b_right, cut


def scanned(
    a: Array, b: Array, cuts: Array | None, reverse: bool, product: Product = operator.mul
) -> tuple[Array, Array, Any]:
    """Returns the products of the decays up to each step, the states from zero, and the cuts."""
    combine = functools.partial(combined, product)
    return lax.associative_scan(combine, (a, b, cuts), reverse=reverse)


def with_derivative(
    solve: Callable[[Decays, Any], Array],
    before: Callable[[Array, Array], Array],
    transposed: Callable[[Decays, Array], Any],
) -> Callable[..., Array]:
    """Returns `run(a, b, initial, cuts)`, which solves the recurrence and can be differentiated.

    Args:
      solve: `solve((a, cuts), (b, initial))` returns `h_t = a_t * h_{t-1} + b_t` for every step.
      before: `before(states, initial)` returns the state before each step.
      transposed: `transposed((a, cuts), d_states)` returns the cotangents of `(b, initial)`.
    """

    @jax.custom_jvp
    def run(a: Array, b: Array, initial: Array, cuts: Array | None) -> Array:
        return solve((a, cuts), (b, initial))

    @run.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
        a, b, initial, cuts = primals
        d_a, d_b, d_initial, _ = tangents
        states = run(a, b, initial, cuts)
        # The tangent follows the same recurrence with different inputs.
        driven = d_b + d_a * uncut(before(states, initial), cuts), d_initial
        axes = (1, 1), (1, 0), 1
        return states, linear_map(solve, transposed, (a, cuts), driven, batch_axes=axes)

    return run
