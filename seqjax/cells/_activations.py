"""Activations by name."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

Activation = str | Callable[[Array], Array]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "softsign": jax.nn.soft_sign,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
}


def named_activations(where: str, **activations: Activation) -> dict[str, Activation]:
    """Returns the names of activations that have one: a name compares by value and pickles."""
    named: dict[str, Activation] = {}
    for argument, activation in activations.items():
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise ValueError(
                f"{where}: `{argument}` must be one of {', '.join(sorted(ACTIVATIONS))}, or a "
                f"pointwise function, got {activation!r}."
            )
        if not isinstance(activation, str) and not callable(activation):
            raise TypeError(
                f"{where}: `{argument}` must be a name or a pointwise function, got {activation!r}."
            )
        names = (name for name, function in ACTIVATIONS.items() if function is activation)
        named[argument] = next(names, activation)
    return named


def activate(activation: Activation, x: Array) -> Array:
    """Applies an activation, given as a name or a function."""
    return ACTIVATIONS[activation](x) if isinstance(activation, str) else activation(x)
