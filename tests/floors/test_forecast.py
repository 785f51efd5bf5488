"""Forecasting floors against their definitions."""

import numpy as np
import pytest

from seqjax import floors


def test_seasonal_and_persistence():
    inputs = np.random.default_rng(0).normal(size=(3, 10, 2))
    found = floors.seasonal(inputs, 9, 4)
    for k in range(9):
        np.testing.assert_array_equal(found[:, k], inputs[:, 10 - 4 + k % 4])
    np.testing.assert_array_equal(floors.persistence(inputs, 5), floors.seasonal(inputs, 5, 1))
    with pytest.raises(ValueError, match=r"1 <= period <= 10, .* got 11"):
        floors.seasonal(inputs, 9, 11)


@pytest.mark.parametrize("regularisation", [0.0, 0.3])
def test_ridge_solves_its_equations(regularisation):
    rng = np.random.default_rng(1)
    x = rng.normal(2.0, [1.0, 5.0, 0.1], (50, 3))
    y = rng.normal(size=(50, 2))
    fitted = floors.fit_ridge(x, y, x, y, regularisations=(regularisation,))
    z = (x - x.mean(0)) / x.std(0)
    scaled = np.linalg.solve(z.T @ z / 50 + regularisation * np.eye(3), z.T @ (y - y.mean(0)) / 50)
    np.testing.assert_allclose(fitted(x), z @ scaled + y.mean(0), atol=1e-9)


@pytest.mark.parametrize("regularisation", [1e-6, 0.1, 10.0])
def test_ridge_of_more_features_than_examples(regularisation):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 40)) * 3 + 1, rng.normal(size=(12, 2))
    fitted = floors.fit_ridge(x, y, x, y, regularisations=(regularisation,))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    normal = z.T @ z / 12 + regularisation * np.eye(40)
    weights = np.linalg.solve(normal, z.T @ (y - y.mean(axis=0)) / 12)
    np.testing.assert_allclose(fitted(x), z @ weights + y.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted.weights, weights / x.std(axis=0)[:, None], rtol=1e-5)


def test_ridge_on_a_hundred_thousand_features():
    """Their square would take 74 GiB."""
    x, y = np.random.default_rng(0).normal(size=(6, 100_000)), np.arange(6.0)[:, None]
    fitted = floors.fit_ridge(x, y, x, y, regularisations=(1e-6,))
    np.testing.assert_allclose(fitted(x), y, atol=1e-4)


def test_ridge_chooses_on_validation():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(30, 1))
    x, validation = rng.normal(size=(35, 30)), rng.normal(size=(300, 30))
    y = x @ truth + 5 * rng.normal(size=(35, 1))
    fitted = floors.fit_ridge(x, y, validation, validation @ truth)
    assert fitted.regularisation > 0.01
    errors = []
    for regularisation in floors._ridge.REGULARISATIONS:
        one = floors.fit_ridge(x, y, x, y, regularisations=(regularisation,))
        errors.append(np.mean((one(validation) - validation @ truth) ** 2))
    assert fitted.regularisation == floors._ridge.REGULARISATIONS[int(np.argmin(errors))]


def test_ridge_bears_constant_and_repeated_features():
    x = np.random.default_rng(3).normal(size=(40, 2))
    doubled = np.concatenate([x, x, np.ones((40, 1))], axis=1)
    y = x @ np.array([[1.0], [2.0]])
    fitted = floors.fit_ridge(doubled, y, doubled, y, regularisations=(0.0,))
    np.testing.assert_allclose(fitted(doubled), y, atol=1e-9)


def test_a_feature_that_is_constant_but_for_rounding_is_left_out():
    """The mean of many 0.1 is not 0.1, and the difference is no unit to measure features in."""
    x = np.random.default_rng(5).normal(size=(1000, 2))
    x[:, 1] = 0.1
    assert x[:, 1].std() > 0
    y = x[:, :1].copy()
    fitted = floors.fit_ridge(x, y, x, y)
    x[:, 1] = 0.2
    np.testing.assert_allclose(fitted(x), y, atol=1e-9)


def test_ridge_forecast_continues_a_wave():
    time = np.arange(300)[:, None] / 7
    series = np.concatenate([np.sin(time), 3 * np.cos(time) + 10], axis=1)
    windows = np.stack([series[i : i + 30] for i in range(270)])
    examples = [(w[:, :20], w[:, 20:]) for w in (windows[:150], windows[150:200], windows[200:])]
    fitted = floors.fit_ridge_forecast(examples[0], examples[1])
    found = fitted(examples[2][0])
    assert found.shape == (70, 10, 2)
    assert np.abs(found - examples[2][1]).max() < 0.01


def test_lagged():
    inputs = np.random.default_rng(4).normal(size=(2, 6, 3))
    found = floors.lagged(inputs, 3)
    for t in range(6):
        wanted = np.concatenate([inputs[:, max(0, t - lag)] for lag in range(3)], axis=-1)
        np.testing.assert_array_equal(found[:, t], wanted)


def test_refuses():
    x = np.ones((3, 2))
    with pytest.raises(
        ValueError, match=r"`validation_x` and its answers .* got \(3, 2\) and \(2,"
    ):
        floors.fit_ridge(x, x, x, x[:2])
    with pytest.raises(ValueError, match="must hold at least one number"):
        floors.fit_ridge(x, x, x, x, regularisations=())
    with pytest.raises(ValueError, match="`num_lags` must be at least 1, got 0"):
        floors.lagged(np.ones((1, 2, 1)), 0)
