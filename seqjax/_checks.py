"""Checks of arguments. Each error is one line: where, what is required, what was given."""

import inspect
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core


def check_sizes(where: str, *, at_least: int = 1, **sizes: Any) -> None:
    """Refuses sizes and counts that are not integers of at least `at_least`."""
    for name, size in sizes.items():
        whole = hasattr(size, "__index__") and not isinstance(size, bool)
        if not whole or size < at_least:
            raise ValueError(
                f"{where}: `{name}` must be an integer of at least {at_least}, got {size!r}."
            )


def check_optional_sizes(where: str, *, at_least: int = 1, **sizes: Any) -> None:
    """Refuses what `check_sizes` refuses, apart from None."""
    given = {name: size for name, size in sizes.items() if size is not None}
    check_sizes(where, at_least=at_least, **given)


def check_rates(where: str, **rates: Any) -> None:
    """Refuses dropout rates outside [0, 1)."""
    for name, rate in rates.items():
        if not isinstance(rate, int | float | np.number) or not 0 <= rate < 1:
            raise ValueError(f"{where}: `{name}` must lie in [0, 1), got {rate!r}.")


def check_above_zero(where: str, advice: str, **numbers: Any) -> None:
    """Refuses what is neither None nor a number above 0; `advice` says what None means."""
    for name, number in numbers.items():
        if number is not None and not (isinstance(number, int | float | np.number) and number > 0):
            raise ValueError(
                f"{where}: `{name}` must be a number above 0, got {number!r}. {advice}"
            )


def check_choice(where: str, name: str, value: Any, known: Collection[str]) -> None:
    """Refuses a value that is not one of the known names."""
    if value not in known:
        raise ValueError(f"{where}: `{name}` must be one of {', '.join(known)}, got {value!r}.")


def check_kind(where: str, name: str, value: Any, kind: Any, required: str) -> None:
    """Refuses an object of another type; `required` says what to write."""
    if not isinstance(value, kind):
        raise TypeError(f"{where}: `{name}` must be {required}, got {_shown(value)}.")


def check_function(
    where: str,
    name: str,
    function: Any,
    arguments: Sequence[str],
    keywords: Sequence[str] = (),
    *,
    optional: bool = False,
) -> None:
    """Refuses an object that cannot be called with these arguments; `optional` allows None."""
    if optional and function is None:
        return
    try:
        signature = inspect.signature(function)  # pyright: ignore[reportArgumentType]
        signature.bind(*arguments, **dict.fromkeys(keywords))
    except TypeError as error:
        called = ", ".join([*arguments, *(f"{keyword}=..." for keyword in keywords)])
        reason = f": {error}" if callable(function) else ""
        raise TypeError(
            f"{where}: `{name}` must be a function that can be called as {name}({called}), got "
            f"{_shown(function)}{reason}."
        ) from None
    except ValueError:  # a built-in function without a signature
        return


def check_names(where: str, **names: Any) -> None:
    """Refuses a string instead of a sequence of names, which would be split into letters."""
    for name, value in names.items():
        if isinstance(value, str) or not isinstance(value, Iterable | None):
            raise TypeError(
                f"{where}: `{name}` must be a sequence of names, got {value!r}. Write ({value!r},)."
            )


def check_shape(
    where: str, name: str, value: Any, axes: str, expected: tuple[Any, ...], hint: str = ""
) -> None:
    """Refuses an array of another shape."""
    if jnp.shape(value) != expected:
        raise ValueError(
            f"{where}: `{name}` must have shape {axes} = {expected}, got {jnp.shape(value)}.{hint}"
        )


def check_integers(where: str, name: str, value: Any) -> None:
    """Refuses an array that is not of an integer dtype."""
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(
            f"{where}: `{name}` must be integers, got {dtype}. Pass {name}.astype(int)."
        )


def check_range(
    where: str, name: str, value: Any, high: Any, meaning: str, advice: str = ""
) -> None:
    """Refuses integers outside 0 ... `high`. A traced array has no values yet and passes."""
    if isinstance(value, core.Tracer):
        return
    known = np.asarray(value)
    if known.size and (known.min() < 0 or known.max() > high):
        raise ValueError(
            f"{where}: `{name}` must lie in 0 ... {meaning} = {high}, got values from "
            f"{known.min()} to {known.max()}.{advice}"
        )


def check_state(
    where: str, got: Any, expected: Any, batch_shape: tuple[int, ...], start: str, hint: str = ""
) -> None:
    """Refuses an initial state that differs from the expected one in structure or shapes.

    Args:
      where: the function or layer that is called.
      got: the given state.
      expected: the state that `start` makes, or its shapes.
      batch_shape: batch axes.
      start: the expression that makes an initial state, for the message.
      hint: advice for the message about wrong batch axes.
    """
    if jax.tree.structure(got) != jax.tree.structure(expected):
        raise ValueError(
            f"{where}: `initial_state` must be {_named(expected)}, got {_named(got)}. Start from "
            f"{start}."
        )
    for leaf, wanted in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        if jnp.shape(leaf) == wanted.shape:
            continue
        batch = jnp.shape(leaf)[: len(batch_shape)]
        check_shape(where, "initial_state", np.empty(batch), "(*B,)", batch_shape, hint)
        raise ValueError(
            f"{where}: `initial_state` must have leaves of shape {wanted.shape}, got "
            f"{jnp.shape(leaf)}. Start from {start}."
        )


def _shown(value: Any) -> str:
    """Returns the repr of an object, or only its type if the repr has several lines."""
    return repr(value) if "\n" not in repr(value) else f"the {type(value).__name__}"


def _named(tree: Any) -> str:
    """Returns the types of a state, such as `(LSTMState, HiddenState)` for a plain tuple."""
    if type(tree) is tuple:
        return f"({', '.join(map(_named, tree))}{',' * (len(tree) == 1)})"
    return type(tree).__name__
