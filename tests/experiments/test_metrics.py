"""What kind of number each metric is."""

import math

import pytest

from experiments.gradient_flow.metrics import bounds
from experiments.metrics import kind_of, summary


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_accuracy", (0, 1)),
        ("test_string_accuracy_greedy", (0, 1)),
        ("validation_bleu", (0, 100)),
        ("test_digit_error_rate", (0, math.inf)),
        ("test_bits_per_character", (0, math.inf)),
        ("test_nll_network", (0, math.inf)),
        ("test_loss", (0, math.inf)),
    ],
)
def test_bounds(name, expected):
    assert kind_of(name).bounds == expected
    least, most = kind_of(name).difference_bounds
    assert least == -most


def test_a_metric_of_no_kind_is_refused():
    with pytest.raises(ValueError, match=r"must be named after one of accuracy, .* 'test_f1'"):
        summary("test_f1", [0.5])


def test_intervals_of_scores_alone():
    assert summary("test_accuracy", [0.999, 1.0, 0.998])["ci95"][1] == 1
    for name in ("selected_epoch", "seed_wall_s", "network_weight"):
        assert summary(name, [1.0, 2.0])["ci95"] == [None, None]


def test_bounds_of_the_gradient_flow():
    assert bounds("saturation_input/lstm/default") == (0, 1)
    assert bounds("lyapunov_1/gru/default") == (-math.inf, math.inf)
    assert bounds("test_mse/adding/gru/default") == (0, math.inf)
