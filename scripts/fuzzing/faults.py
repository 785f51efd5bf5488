"""Faults of bytes, of nests and of arrays, all drawn from one generator of random numbers."""

import contextlib
import functools
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

PIECES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\t", b",", b";", b'"', b"'", b"\\", b"[",
    b"]", b"{", b"}", b":", b"nan", b"inf", b"-1", b"0", b"1e999", b"1e308", b"-0.0", b"1_0",
    b"0x1", b"9" * 30, b"9" * 5000, b"null", b"true", b"[" * 3000, b'{"a":' * 1000,
    "\u2028".encode(), "\u0660".encode(), b"=\xd8\x00\xde", b"\xed\xa0\x80", b"PK\x03\x04",
    b"\x93NUMPY\x01\x00", b"RIFF", b"RIFX", b"data\xff\xff\xff\x7f", b"fmt ", b"#", b"_", b" ",
    b"1-2", b"1.1", b"../../etc/passwd", b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x95",
)  # fmt: skip
DEEP = "deep"  # stands for a nest of many levels
VALUES = (
    DEEP, None, True, False, 0, -1, 3, 2**31, 10**30, 0.5, float("nan"), float("inf"), 1e308,
    -1e308, "", "x", "0", "\u2028", "\ud800", "../../x", "\n", [], {}, [[]], [None], [1e308] * 3,
    [0, 1], ["a", "a"], {"a": 1}, {"": {}},
)  # fmt: skip
NAMES = (
    "",
    "x",
    "/",
    ".",
    "kernel",
    "bias",
    "params/",
    "_l0",
    "_reverse",
    "\u2028",
    "0",
    "{0}",
    "\n",
)
OTHER_NAMES = (0, -1, None, b"kernel", (), ("a", 0), 1.5, True, ("a", None))


def spoilt(sound: tuple[bytes, ...], rng: random.Random) -> bytes:
    """Returns a sound input with one to six faults, or noise."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(200))
    chosen = rng.choice(sound)
    if chosen[:1] in (b"{", b"[") and rng.random() < 0.4:
        return _spoilt_json(chosen, rng)
    content = bytearray(chosen)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        place = rng.randrange(len(content) + 1)
        behind = min(len(content), place + rng.choice((1, 1, 2, 4, 16, 100)))
        match rng.randrange(7):
            case 0 if content:
                content[min(place, len(content) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                del content[place:behind]
            case 2:
                content[place:place] = content[place:behind] * rng.choice((1, 2, 30))
            case 3:
                content[place:place] = rng.choice(PIECES)
            case 4:
                content[place:behind] = rng.choice(PIECES)
            case 5:
                other = rng.choice(sound)
                content[place:] = other[rng.randrange(len(other) + 1) :]
            case _:
                del content[place:]
    return bytes(content)


class Kinds(NamedTuple):
    """What may stand in a nest where something else stood.

    Attributes:
      leaf: `leaf(value, rng)`, in the place of a value.
      names: in the place of a name, beside altered ones.
    """

    leaf: Callable[[Any, random.Random], Any]
    names: tuple[Any, ...]


def _spoilt_json(content: bytes, rng: random.Random) -> bytes:
    """Returns JSON, one value or one a line, that says something else."""
    values = list(_parsed(content))
    if values:
        place = rng.randrange(len(values))
        values[place] = spoilt_nest(values[place], rng, JSON)
    text = "".join(json.dumps(value) + "\n" for value in values)
    levels = rng.choice((60, 300, 480, 700, 980))
    left, right = rng.choice((("[", "]"), ('{"a":', "}")))
    deep = left * levels + "0" * (right == "}") + right * levels
    return text.replace(f'"{DEEP}"', deep).encode()


@functools.lru_cache(maxsize=64)
def _parsed(content: bytes) -> tuple[Any, ...]:
    """Returns the value of a content that is JSON, those of its lines, or nothing."""
    for pieces in ([content], content.splitlines()):
        with contextlib.suppress(ValueError):
            return tuple(map(json.loads, pieces))
    return ()


def spoilt_nest(nest: Any, rng: random.Random, kinds: Kinds) -> Any:
    """Returns a copy of nested mappings and lists with one to four faults."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        nest = _one_fault(nest, rng, kinds)
    return nest


def _one_fault(nest: Any, rng: random.Random, kinds: Kinds) -> Any:
    if isinstance(nest, Mapping) and nest and rng.random() < 0.97:
        return _fault_in_mapping(dict(nest), rng, kinds)
    if isinstance(nest, list | tuple) and nest and rng.random() < 0.95:
        return _fault_in_list(list(nest), rng, kinds)
    return kinds.leaf(nest, rng)


def _fault_in_mapping(nest: dict[Any, Any], rng: random.Random, kinds: Kinds) -> Any:
    name = rng.choice(list(nest))
    match rng.randrange(10):
        case 0:
            del nest[name]
        case 1:
            other = _other_name(name, rng, kinds)
            nest = {other if each == name else each: value for each, value in nest.items()}
        case 2:
            nest[_other_name(name, rng, kinds)] = nest[name]
        case 3:
            other = rng.choice(list(nest))
            nest[name], nest[other] = nest[other], nest[name]
        case 4 if rng.random() < 0.3:
            return rng.choice(({name: nest}, {"x": nest}, list(nest.values()), list(nest)))
        case _:
            nest[name] = _one_fault(nest[name], rng, kinds)
    return nest


def _fault_in_list(nest: list[Any], rng: random.Random, kinds: Kinds) -> Any:
    place = rng.randrange(len(nest))
    match rng.randrange(8):
        case 0:
            del nest[place]
        case 1:
            nest.insert(place, rng.choice(nest))
        case 2:
            nest.reverse()
        case 3 if rng.random() < 0.3:
            return rng.choice((tuple(nest), nest * 30, {str(i): v for i, v in enumerate(nest)}))
        case _:
            nest[place] = _one_fault(nest[place], rng, kinds)
    return nest


def _other_name(name: Any, rng: random.Random, kinds: Kinds) -> Any:
    if not isinstance(name, str) or rng.random() < 0.2:
        return rng.choice(kinds.names)
    place, behind = sorted((rng.randrange(len(name) + 1), rng.randrange(len(name) + 1)))
    return name[:place] + rng.choice(NAMES) + name[rng.choice((place, behind)) :]


class Unwilling:
    """An object that fails when it is asked for an array, as a tensor of another device does."""

    def __array__(self, dtype=None, copy=None):
        """Raises."""
        raise RuntimeError("a tensor\nof another device")


RUBBISH = (
    None, "x", b"x", 1, 1.5, 1j, True, [], {}, (), [1.0], [[1.0], [1.0, 2.0]], [None], ["a"], {1},
    {"a": {}}, object(), Unwilling(), int, range(3), 10**30, float("nan"), iter(()),
)  # fmt: skip
DTYPES = (
    "int32", "uint8", "bool", "complex64", "float16", "float64", "object", "U3", "S3", "M8[s]",
    "m8[s]", "longdouble", "V4", [("a", "f4")],
)  # fmt: skip


def spoilt_array(array: Any, rng: random.Random) -> Any:
    """Returns an array of another shape, dtype or content in the place of one, or none at all."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or rng.random() < 0.2:
        return rng.choice(RUBBISH)
    match rng.randrange(14):
        case 0:
            return array.T
        case 1:
            return array[:-1] if array.ndim else array[None]
        case 2:
            return array[..., None]
        case 3:
            return array.ravel()
        case 4:
            return array[None]
        case 5:
            return np.concatenate([array, array], axis=-1) if array.ndim else array[None]
        case 6:
            return np.zeros((0, *array.shape[1:]), array.dtype)
        case 7:
            return np.full_like(array, rng.choice((np.nan, np.inf, 0, -1, 100)))
        case 8:
            return array.tolist()
        case 9:
            return np.flip(array)
        case 10:
            return np.broadcast_to(np.ones((), array.dtype), array.shape)
        case 11:
            return np.asfortranarray(array).astype(array.dtype.newbyteorder())
        case 12:
            return array.sum()
        case _:
            dtype: Any = rng.choice(DTYPES)
            return np.zeros(array.shape, dtype)


JSON = Kinds(lambda value, rng: rng.choice(VALUES), NAMES)
WEIGHTS = Kinds(spoilt_array, (*NAMES, *OTHER_NAMES))
