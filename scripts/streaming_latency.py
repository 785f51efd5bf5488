"""What a step through our API costs more than the same mathematics written by hand.

    python scripts/streaming_latency.py

One sequence at a time, on a CPU, as an application would that is fed step by step. Both sides are
one jitted call with the state carried over, waited for; they take turns, their outputs are compared
first, and medians are reported: of each side, and of the difference between neighbouring calls.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import seqjax

IN, HIDDEN = 64, 128


def elman_by_hand(params, x, state):
    """The vanilla network."""
    (h,) = state
    h = jnp.tanh(x @ params.input_kernel + params.bias[None] + h @ params.recurrent_kernel)
    return h, (h,)


def lstm_by_hand(params, x, state):
    """The LSTM."""
    h, c = state
    z = x @ params.input_kernel + params.bias[None] + h @ params.recurrent_kernel
    i, f, g, o = jnp.split(z, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return h, (h, c)


def gru_by_hand(params, x, state):
    """The GRU, reset after the product."""
    (h,) = state
    drive = jnp.split(x @ params.input_kernel + params.bias[None], 3, axis=-1)
    recurrent = jnp.split(h @ params.recurrent_kernel, 3, axis=-1)
    z, r = (jax.nn.sigmoid(drive[i] + recurrent[i]) for i in (0, 1))
    n = jnp.tanh(drive[2] + r * (recurrent[2] + params.recurrent_bias[None]))
    h = (1 - z) * h + z * n
    return h, (h,)


BY_HAND = {"elman": elman_by_hand, "lstm": lstm_by_hand, "gru": gru_by_hand}


def main() -> None:
    """Prints a line for each cell, alone and in a stack of two."""
    parser = argparse.ArgumentParser(description="Overhead of a step with carried state.")
    parser.add_argument("--steps", type=int, default=3000, help="steps timed on each side")
    steps = parser.parse_args().steps
    if steps < 1:
        parser.error(f"--steps must be at least 1, got {steps}")
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, {IN} features, {HIDDEN} units")
    for cell in (seqjax.elman(HIDDEN), seqjax.lstm(HIDDEN), seqjax.gru(HIDDEN)):
        for layers in (1, 2):
            measure(cell, layers, steps)


def measure(cell: seqjax.cells.Cell, layers: int, steps: int) -> None:
    """Times a cell's step as a function, as a module, and by hand."""
    rngs = nnx.Rngs(0)
    made = [seqjax.nn.RNN(cell, size, rngs=rngs) for size in (IN, HIDDEN)[:layers]]
    module = made[0] if layers == 1 else seqjax.nn.Stack(made)
    params = tuple(layer.cell_params() for layer in made)
    starts = tuple(layer.initial_state((1,)) for layer in made)

    @jax.jit
    def by_hand(params, x, states):
        new = []
        for each, state in zip(params, states, strict=True):
            x, state = BY_HAND[cell.name](each, x, state)
            new.append(state)
        return x, tuple(new)

    @jax.jit
    def pure(params, x, states):
        new = []
        for each, state in zip(params, states, strict=True):
            x, state = seqjax.step(cell, each, x, state)
            new.append(state)
        return x, tuple(new)

    sides = {
        "by hand": (lambda x, state: by_hand(params, x, state), tuple(map(tuple, starts))),
        "seqjax.step": (lambda x, state: pure(params, x, state), starts),
        "nn.make_step": (seqjax.nn.make_step(module), starts[0] if layers == 1 else starts),
    }
    xs = [jnp.asarray(x) for x in np.random.default_rng(0).normal(size=(50, 1, IN)).astype("f")]
    compare(sides, xs)
    states = {name: state for name, (_, state) in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for index in range(steps):
        order.append(order.pop(0))  # whoever comes first pays for what was done before
        for name in order:
            step = sides[name][0]
            begin = time.perf_counter()
            y, states[name] = step(xs[index % len(xs)], states[name])
            y.block_until_ready()
            seconds[name].append(time.perf_counter() - begin)
    hand = seconds.pop("by hand")
    line = f"{cell!r} x {layers}: by hand {1e6 * statistics.median(hand):.0f} us"
    for name, ours in seconds.items():
        over = statistics.median(a - b for a, b in zip(ours, hand, strict=True))
        line += f", {name} {1e6 * statistics.median(ours):.0f} us ({1e6 * over:+.1f})"
    print(line, flush=True)


def compare(sides, xs) -> None:
    """Checks that all sides give the same outputs; what is compiled is compiled here."""
    outputs = []
    for step, state in sides.values():
        ys = []
        for x in xs:
            y, state = step(x, state)
            ys.append(y)
        outputs.append(np.concatenate(ys))
    for other in outputs[1:]:
        np.testing.assert_allclose(other, outputs[0], atol=1e-5)


if __name__ == "__main__":
    main()
