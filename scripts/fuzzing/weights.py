"""Weights of strangers: safetensors files, and mappings and lists of arrays in every convention."""

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import seqjax
from fuzzing.faults import NAMES, RUBBISH, WEIGHTS, spoilt_nest
from fuzzing.reader import Reader, drawn
from seqjax import convert
from seqjax.convert import _conventions as conventions

ZEROS: dict[str, Any] = {
    "kernel_init": jax.nn.initializers.zeros,
    "recurrent_init": jax.nn.initializers.zeros,
}
CELLS = {
    "elman": seqjax.elman(2, **ZEROS),
    "lstm": seqjax.lstm(2, **ZEROS),
    "gru": seqjax.gru(2, **ZEROS),
    "gru_reset_before": seqjax.gru(2, reset_after=False, **ZEROS),
}
FRAMEWORKS = ("torch", "keras", "linen", "nnx")


def weight_readers(base: Path) -> list[Reader]:
    """Makes every reader of weights."""
    rng = np.random.default_rng(0)
    arrays = {
        "fc.weight": rng.normal(size=(3, 2)).astype(np.float32),
        "fc.bias": np.ones(3, np.float16),
    }
    sounds = []
    for kind in (arrays, {"a": np.ones(2), "b": np.ones((2, 1), np.int32)}, {}):
        convert.write_safetensors(base / "sound.safetensors", kind)
        sounds.append((base / "sound.safetensors").read_bytes())

    def write(rng: random.Random | None) -> None:
        found = spoilt_nest(arrays, rng, WEIGHTS) if rng else arrays
        convert.write_safetensors(base / "written.safetensors", found)

    return [
        Reader("safetensors", "x.safetensors", tuple(sounds), convert.read_safetensors),
        drawn("write_safetensors", write),
        *(drawn(f"load_{name}", _load(name), weight=0.2) for name in (*FRAMEWORKS, "seqjax")),
        *(drawn(f"load_params_{name}", _load_params(name), weight=0.6) for name in FRAMEWORKS),
    ]


def _modules() -> list[tuple[nnx.Module, list[str]]]:
    """Returns modules of small layers, and the paths of theirs that may be named."""
    rngs = nnx.Rngs(0)
    stack = seqjax.nn.Stack(
        [seqjax.nn.Bidirectional(CELLS["gru"], 2, rngs=rngs),
         seqjax.nn.Bidirectional(CELLS["gru"], 4, rngs=rngs)]
    )  # fmt: skip
    model = nnx.Dict(
        words=seqjax.nn.Embedding(5, 3, rngs=rngs),
        lstm=seqjax.nn.RNN(CELLS["lstm"], 3, rngs=rngs),
        head=nnx.Linear(2, 4, rngs=rngs),
    )
    return [
        (model, ["words", "lstm", "head"]),
        (stack, ["layers.0", "layers.1"]),
        (seqjax.nn.RNN(CELLS["elman"], 3, rngs=rngs), [""]),
    ]


def _load(framework: str) -> Callable[[random.Random | None], None]:
    """Returns what loads spoilt weights into modules, and sees that they stay whole."""
    cases = []
    for module, paths in _modules():
        params = [param for _, param in nnx.to_flat_state(nnx.state(module, nnx.Param))]
        usual = None if framework in ("torch", "seqjax") else {p: p for p in paths if p}
        sound = convert.dump(module, framework, names=usual)
        cases.append((module, usual, sound, params))

    def act(rng: random.Random | None) -> None:
        for module, usual, weights, params in [rng.choice(cases)] if rng else cases:
            options: dict[str, Any] = {"names": usual}
            if rng:
                weights = spoilt_nest(weights, rng, WEIGHTS)
                options = _options(rng, usual)
            if rng and framework != "seqjax" and rng.random() < 0.3:
                convert.dump(module, framework, like=weights, names=options["names"])
            else:
                load = functools.partial(convert.load, module, weights, framework, **options)
                _whole(params, load)

    return act


def _options(rng: random.Random, usual: dict[str, str] | None) -> dict[str, Any]:
    names: Any = usual
    if rng.random() < 0.3:
        paths = (*(usual or {"": ""}), *NAMES)
        names = {rng.choice(paths): rng.choice((*paths, ["a", "b"]))}
    elif rng.random() < 0.1:
        names = rng.choice((*NAMES, *RUBBISH))
    return {"names": names, "strict": rng.random() < 0.7}


def _whole(params: list[Any], load: Callable[[], None]) -> None:
    """Loads; what is refused must have changed nothing, and what is loaded no shape or dtype."""
    before = [param.get_value() for param in params]
    try:
        load()
    except convert.ConvertError:
        if any(p.get_value() is not old for p, old in zip(params, before, strict=True)):
            raise AssertionError("what is refused changed a parameter") from None
        raise
    for param, old in zip(params, before, strict=True):
        if (param.shape, param.dtype) != (old.shape, old.dtype):
            raise AssertionError(f"a parameter became {param.dtype}{param.shape}")


def _load_params(framework: str) -> Callable[[random.Random | None], None]:
    """Returns what makes parameters of a cell from spoilt weights, and sees that they fit it."""
    sounds = []
    for cell in (CELLS[kind] for kind in CELLS if kind in conventions.FRAMEWORKS[framework].kinds):
        params = cell.init(jax.random.key(0), 3)
        sounds.append((cell, params, convert.dump_params(cell, params, framework)))

    def act(rng: random.Random | None) -> None:
        for cell, params, weights in [rng.choice(sounds)] if rng else sounds:
            name = ""
            if rng:
                weights = spoilt_nest(weights, rng, WEIGHTS)
                name = rng.choice(NAMES) if rng.random() < 0.2 else ""
            found = convert.load_params(cell, weights, framework, name=name)
            hidden, gates = cell.hidden_size, params.bias.shape[0] // cell.hidden_size
            kernel = found.recurrent_kernel
            if kernel is None or kernel.shape != (hidden, gates * hidden):
                raise AssertionError(f"{jax.tree.map(jnp.shape, kernel)} of {cell}")
            if not jnp.issubdtype(found.input_kernel.dtype, jnp.floating):
                raise AssertionError(f"{found.input_kernel.dtype} of {cell}")

    return act
