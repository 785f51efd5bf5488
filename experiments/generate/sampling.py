"""Samples of a trained model: text as it is written, or music."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.functions import Functions
from experiments.generate.config import Config
from experiments.generate.model import Asked
from seqjax import data, decode
from seqjax.data._chorales import NUM_NOTES
from seqjax.decode._generate import Step


def text_stream(
    config: Config,
    functions: Functions,
    params: Any,
    alphabet: data.Alphabet,
    prompt: str,
    key: jax.Array,
) -> Iterator[str]:
    """Yields the characters that follow a prompt, one at a time.

    Args:
      config: temperature, top_k, top_p and sample_length are read.
      functions: the model.
      params: its parameters.
      alphabet: of the text that was learnt.
      prompt: at least one character.
      key: of the sample.

    Raises:
      DataError: if the prompt is empty or holds a character that is not in the alphabet.
    """
    if not prompt:
        raise data.DataError("--predict needs a prompt of at least one character, got none.")
    sample = decode.make_sampler(
        config.temperature,
        top_k=config.top_k or None,
        top_p=config.top_p,
    )
    state, logits = _read(functions, params, alphabet.encode(prompt))
    step = _step(functions, params)
    tokens = decode.stream(
        step, state, logits, key=key, sample=sample, num_steps=config.sample_length
    )
    for token in tokens:
        yield alphabet.characters[int(token[0])]


def music_sample(config: Config, functions: Functions, params: Any, key: jax.Array) -> np.ndarray:
    """Returns new music, a piano roll (sample_length, 88)."""
    state, logits = _read(functions, params, np.zeros((1, NUM_NOTES), np.float32))
    found = decode.generate(
        _step(functions, params),
        state,
        logits,
        key=key,
        num_steps=config.sample_length,
        sample=decode.make_bernoulli_sampler(config.temperature),
    )
    return np.asarray(found.tokens[0])


def _read(functions: Functions, params: Any, steps: np.ndarray) -> tuple[Any, jax.Array]:
    """Reads steps as one sequence, unrolled as in training; the state and logits after the last."""
    logits, state = jax.jit(functions.apply)(params, Asked(jnp.asarray(steps)[None]))
    return state, logits[:, -1]


def _step(functions: Functions, params: Any) -> Step:
    def step(state: Any, tokens: jax.Array) -> tuple[Any, jax.Array]:
        logits, state = functions.apply(params, Asked(tokens[:, None], state))
        return state, logits[:, 0]

    return step
