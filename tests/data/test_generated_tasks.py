"""Generated tasks against their definitions, written as plain loops."""

import math

import numpy as np
import pytest

from seqjax import data
from seqjax.data._adding import ADDING_CHANCE
from seqjax.data._copying import copying_chance
from seqjax.data._modular_arithmetic import MODULAR_ARITHMETIC_CHANCE

TASKS = {
    "adding": lambda rng: data.adding(rng, 4, 20),
    "copying": lambda rng: data.copying(rng, 4, 20),
    "parity": lambda rng: data.parity(rng, 4, 20, min_length=3),
    "modular_arithmetic": lambda rng: data.modular_arithmetic(rng, 4, 20, min_length=3),
    "narma10": lambda rng: data.narma10(rng, 4, 20),
    "sine": lambda rng: data.sine(rng, 4, 20, noise=0.1),
    "mackey_glass": lambda rng: data.mackey_glass(rng, 4, 20),
    "lorenz": lambda rng: data.lorenz(rng, 4, 20),
}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("name", TASKS)
def test_seeded_and_never_the_same_twice(name):
    def draw(rng):
        drawn = TASKS[name](rng)
        return drawn if isinstance(drawn, np.ndarray) else drawn.inputs

    rng = np.random.default_rng(0)
    first, second = draw(rng), draw(rng)
    np.testing.assert_array_equal(first, draw(np.random.default_rng(0)))
    assert (first != second).any()
    assert first.dtype == np.float32


def test_adding(rng):
    task = data.adding(rng, 200, 11)
    for values, target in zip(task.inputs, task.targets, strict=True):
        marked = [t for t in range(11) if values[t, 1] == 1]
        assert len(marked) == 2
        assert marked[0] < 5 <= marked[1]
        assert target[0] == pytest.approx(sum(values[t, 0] for t in marked))
    many = data.adding(rng, 100_000, 4)
    assert np.mean((many.targets - 1) ** 2) == pytest.approx(ADDING_CHANCE, rel=0.02)


def test_copying(rng):
    task = data.copying(rng, 3, 7)
    tokens = task.inputs.argmax(-1)
    assert tokens.shape == task.targets.shape == task.weights.shape == (3, 27)
    for seen, wanted in zip(tokens, task.targets, strict=True):
        assert (seen[:10] < 8).all()
        assert seen[10:].tolist() == [8] * 6 + [9] + [8] * 10
        assert wanted.tolist() == [8] * 17 + seen[:10].tolist()
    assert copying_chance(1000) == pytest.approx(10 * math.log(8) / 1020)


def test_parity(rng):
    task = data.parity(rng, 300, 9, min_length=2)
    assert set(task.lengths.tolist()) == set(range(2, 10))
    for values, length, target in zip(task.inputs, task.lengths, task.targets, strict=True):
        assert values[:length].sum() == length
        assert not values[length:].any()
        assert target == int(values[:, 1].sum()) % 2
    assert 0.3 < task.targets.mean() < 0.7


def test_modular_arithmetic(rng):
    task = data.modular_arithmetic(rng, 500, 12, min_length=1)
    assert set(task.lengths.tolist()) == {1, 3, 5, 7, 9, 11}
    for values, length, target in zip(task.inputs, task.lengths, task.targets, strict=True):
        assert not values[length:].any()
        expression = "".join("01234+-*"[i] for i in values[:length].argmax(-1))
        assert eval(expression) % 5 == target
    shares = np.bincount(data.modular_arithmetic(rng, 20_000, 31).targets) / 20_000
    np.testing.assert_allclose(shares, MODULAR_ARITHMETIC_CHANCE, atol=0.02)


def test_narma10(rng):
    task = data.narma10(rng, 5, 60)
    for u, wanted in zip(task.inputs[..., 0].astype(float), task.targets[..., 0], strict=True):
        y = [0.0] * 61  # y[t] answers u[t - 1]
        for t in range(60):
            past = sum(y[t - i] for i in range(10) if t - i >= 0)
            product = u[t] * u[t - 9] if t >= 9 else 0.0
            y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * past + 1.5 * product + 0.1
        np.testing.assert_allclose(wanted, y[1:], rtol=1e-5)


def test_narma10_never_runs_away(rng):
    task = data.narma10(rng, 200, 1500)
    assert np.abs(task.targets).max() <= 1
    assert (task.inputs.max(axis=(1, 2)) > 0.4).all()


def test_sine(rng):
    series = data.sine(rng, 50, 400)
    assert series.shape == (50, 400, 1)
    # A wave predicts itself: x_{t+1} + x_{t-1} = 2 cos(2 pi / p) x_t.
    for wave in series[..., 0].astype(float):
        factor = np.linalg.lstsq(wave[1:-1, None], wave[2:] + wave[:-2], rcond=None)[0]
        np.testing.assert_allclose(wave[2:] + wave[:-2], factor * wave[1:-1], atol=1e-5)
        assert 10 <= 2 * np.pi / math.acos(factor[0] / 2) <= 50.01
    noisy = data.sine(rng, 50, 400, noise=0.5)
    assert noisy.var() == pytest.approx(0.75, rel=0.05)


def test_mackey_glass_solves_its_equation(rng):
    delay = 2.0
    series = data.mackey_glass(rng, 2, 3000, delay=delay)[..., 0].astype(float)
    # Below tau = 4.53 the equation comes to rest at 1, where 0.2 / (1 + 1) = 0.1.
    np.testing.assert_allclose(series[:, -1], 1.0, atol=1e-4)
    chaotic = data.mackey_glass(rng, 20, 500)
    assert chaotic.mean() == pytest.approx(0.92, abs=0.03)
    assert chaotic.std() == pytest.approx(0.23, abs=0.03)


def test_mackey_glass_follows_the_slope(rng):
    # With a delay of one unit and values a unit apart, the integral over a unit by Simpson's rule
    # of a smooth stretch: compared with a fine Euler integration of the same history.
    series = data.mackey_glass(rng, 1, 40, delay=17.0)[0, :, 0].astype(float)
    slope = (series[2:] - series[:-2]) / 2
    now, delayed = series[18:-1], series[1:-18]
    wanted = 0.2 * delayed / (1 + delayed**10) - 0.1 * now
    np.testing.assert_allclose(slope[17:], wanted, atol=4e-3)


def test_lorenz_solves_its_equations(rng):
    series = data.lorenz(rng, 4, 200, interval=0.01).astype(float)
    x, y, z = np.moveaxis(series[:, 1:-1], -1, 0)
    slope = (series[:, 2:] - series[:, :-2]) / 0.02
    wanted = np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=-1)
    assert np.abs(slope - wanted).max() < 0.02 * np.abs(wanted).max()
    # The attractor turns around the points (+-sqrt(72), +-sqrt(72), 27).
    long = data.lorenz(rng, 20, 1000)
    assert long[..., 2].mean() == pytest.approx(23.5, abs=0.5)
    assert long.shape == (20, 1000, 3)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda rng: data.adding(rng, 2, 1), "`length` must be an integer of at least 2, got 1"),
        (lambda rng: data.copying(rng, 2, 0), "`delay` must be an integer of at least 1, got 0"),
        (lambda rng: data.parity(rng, 2, 0), "`length` must be an integer of at least 1, got 0"),
        (
            lambda rng: data.modular_arithmetic(rng, 2, 5, min_length=6),
            "1 <= min_length <= length is required, got 6 and 5",
        ),
        (
            lambda rng: data.mackey_glass(rng, 2, 5, delay=0.01),
            "`delay` must be a finite number",
        ),
        (
            lambda rng: data.lorenz(rng, 2, 5, interval=0.001),
            "`interval` must be a finite number",
        ),
    ],
)
def test_refuses(rng, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(rng)
