"""Options of a cell on the command line reach the cell, or are refused in one line."""

import dataclasses

import jax
import pytest
from flax import nnx

from experiments import classify, imdb, translate
from experiments.cells import read_options
from experiments.command_line import ConfigError
from experiments.functions import recurrent_layers


def test_options_reach_every_layer():
    config = classify.configure(cell="bislstm", cell_options="heads=4,block_ratio=0.5")
    stack = recurrent_layers(config, 3, nnx.Rngs(0), hidden_size=8, num_layers=2)
    for layer in stack.layers:
        for side in (layer.forward, layer.backward):
            assert side.cell.heads == 4
    plain = dataclasses.replace(config, cell_options="")
    assert (
        recurrent_layers(plain, 3, nnx.Rngs(0), hidden_size=8, num_layers=1).forward.cell.heads == 1
    )


def test_what_the_experiment_sets_gives_way():
    config = classify.configure(cell="lstm", cell_options="max_timescale=50")
    options = {"max_timescale": 9.0}
    cell = recurrent_layers(config, 3, nnx.Rngs(0), hidden_size=4, num_layers=1, **options).cell
    bias = cell.init(jax.random.key(0), 3).bias
    assert float(jax.numpy.exp(bias[4:8]).max()) > 9


def test_numbers_names_and_booleans():
    assert read_options("gru", "reset_after=False, activation=relu") == {
        "reset_after": False,
        "activation": "relu",
    }
    assert read_options("lstm", "") == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cell": "slstm", "cell_options": "heads=5", "hidden_size": 16}, "`heads` must divide"),
        ({"cell": "bilstm", "cell_options": "head=4"}, r"the options of --cell=lstm are forget_b"),
        ({"cell": "lstm", "cell_options": "forget_bias"}, r"name=value .* got 'forget_bias'"),
        ({"cell": "lstm", "cell_options": "kernel_init=zeros"}, "got 'kernel_init=zeros'"),
        ({"cell": "lstm", "cell_options": "activation=tan"}, "`activation` must be one of"),
        (
            {"cell": "lstm", "cell_options": "forget_bias=high"},
            "must be like its default, 1.0; got high",
        ),
        ({"cell": "feedforward", "cell_options": "heads=2"}, "--cell=feedforward are none"),
        ({"cell": "conv_lstm"}, "--cell=conv_lstm needs images, and no experiment has them"),
        (
            {"cell": "lsmt"},
            r"ltc, feedforward, or bi before one .* got 'lsmt'. Did you mean 'lstm'",
        ),
        (
            {"cell": "bicfc", "executor": "newton", "hidden_size": 80},
            r"--hidden_size=80: it needs the dense Jacobian, 80 x 80 .* Lower --hidden_size",
        ),
    ],
)
def test_mistakes_are_refused_in_one_line(given, message):
    with pytest.raises(ConfigError, match=message) as caught:
        classify.configure(**given)
    assert "\n" not in str(caught.value)


def test_the_size_of_the_experiment_is_the_one_that_is_checked():
    assert imdb.configure(cell="bislstm", cell_options="heads=4").cell_options == "heads=4"
    with pytest.raises(ConfigError, match="`heads` must divide hidden_size"):
        translate.configure(cell="slstm", cell_options="heads=7")
