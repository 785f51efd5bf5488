"""What all modules here share: a signature that tools can read, and dropout that a key turns on."""

import inspect
from typing import Any

import jax
from flax import nnx
from jax import Array

from seqjax._checks import check_kind, check_rates


class _Signature:
    """The signature of `__init__` on a class, and of `__call__` on an instance."""

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        function = owner.__init__ if instance is None else owner.__call__
        _, *arguments = inspect.signature(function).parameters.values()
        return inspect.Signature(arguments)


class Module(nnx.Module):
    """The base class of the modules here; notebooks and `inspect` show its arguments.

    Flax makes modules through a metaclass, which would show `(*args, **kwargs)`.
    """

    __signature__ = _Signature()
    in_size: int
    out_size: int

    @property
    def in_features(self) -> int:
        """Features of the input, by Flax's name."""
        return self.in_size

    @property
    def out_features(self) -> int:
        """Features of the output, by Flax's name."""
        return self.out_size


def check_rngs(where: str, rngs: Any) -> None:
    """Refuses a bare seed, the most common mistake."""
    check_kind(where, "rngs", rngs, nnx.Rngs, "flax.nnx.Rngs(seed)")


def check_module(where: str, module: Any) -> None:
    """Refuses what is not an NNX module."""
    check_kind(where, "module", module, nnx.Module, "a flax.nnx.Module")


def make_dropout(where: str, rate: float, *, name: str = "dropout", **options: Any) -> nnx.Dropout:
    """Returns a dropout layer that holds no random state; see `active`."""
    check_rates(where, **{name: rate})
    return nnx.Dropout(rate, deterministic=None, **options)


def active(dropout: nnx.Dropout, key: Array | None) -> bool:
    """Returns whether dropout applies: if there is a key, unless `train()` or `eval()` was called.

    Raises:
      ValueError: if the module was set to training and there is no key.
    """
    if dropout.rate == 0 or dropout.deterministic:
        return False
    if key is None and dropout.deterministic is False:
        raise ValueError(
            "seqjax.nn: after model.train(), a call must be given a `key` for dropout, got None. "
            "Pass key=..., or call model.eval() first."
        )
    return key is not None


def drop(dropout: nnx.Dropout, xs: Array, key: Array | None) -> Array:
    """Applies dropout if it is `active`."""
    return dropout(xs, deterministic=False, rngs=key) if active(dropout, key) else xs


def split_key(key: Array | None, num: int) -> list[Array | None]:
    """Returns `num` keys, or as many times None without a key."""
    return [None] * num if key is None else list(jax.random.split(key, num))
