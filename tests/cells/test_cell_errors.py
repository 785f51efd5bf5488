"""Every mistake that a cell refuses, with the message that mends it."""

import re

import jax
import jax.numpy as jnp
import pytest
from cell_table import every_cell

import seqjax


def raises(message, error=ValueError):
    return pytest.raises(error, match=re.escape(message))


def gated(**options):
    options = {"gates": ("a", "b"), "update": lambda state, a, b: state} | options
    return seqjax.gated_cell("mine", options.pop("hidden_size", 4), **options)


@pytest.mark.parametrize("make", [seqjax.elman, seqjax.lstm, seqjax.gru, seqjax.min_gru])
def test_hidden_size_below_one(make):
    with raises("`hidden_size` must be at least 1, got 0."):
        make(0)


@pytest.mark.parametrize("gates", [(), ("a", "a")], ids=["none", "repeated"])
def test_gates_not_distinct(gates):
    with raises("seqjax.gated_cell('mine'): `gates` must be one or more distinct names, got "):
        gated(gates=gates)


def test_unknown_gates():
    with raises("gates must be among ('a', 'b'), got ['c', 'd']."):
        gated(separate=("d",), bias_inits={"c": jax.nn.initializers.zeros})


@pytest.mark.parametrize("separate", [("a",), ("b", "a")], ids=["first", "order"])
def test_separate_gates_not_last(separate):
    with raises("`separate` must name the last gates of ('a', 'b') in their order"):
        gated(separate=separate)


@pytest.mark.parametrize("options", [{"second": ("a",)}, {"second": ("b",), "separate": ("b",)}])
def test_gates_of_the_second_product_not_last(options):
    with raises("`second` must name the last gates of ('a'"):
        gated(middle=lambda state, **gates: state, **options)


@pytest.mark.parametrize("options", [{"second": ("b",)}, {"middle": lambda state, a: a}])
def test_a_second_product_without_its_function_or_the_reverse(options):
    with raises("`second` and `middle` must be given together, got ("):
        gated(**options)


@every_cell
@pytest.mark.parametrize("in_size", [0, -1])
def test_in_size_below_one(row, in_size):
    with raises(f".init: `in_size` must be at least 1, got {in_size}."):
        row.cell.init(jax.random.key(0), in_size)


@every_cell
def test_wrong_number_of_features(row):
    params = row.cell.init(jax.random.key(0), 3)
    with raises("must have in_size = 3 features on its last axis, got shape (2, 5). Make the par"):
        row.cell.project(params, jnp.ones((2, 5)))
    with raises("init(key, in_size=5), or mend the input."):
        seqjax.unroll(row.cell, params, jnp.ones((4, 2, 5)))


def test_unknown_activation():
    with raises("must be one of ['relu', 'sigmoid', 'tanh'] or a function, got 'gelu'."):
        seqjax.elman(4, activation="gelu")


@pytest.mark.parametrize("max_timescale", [2, -5.0, float("nan")])
def test_chrono_timescale_too_short(max_timescale):
    makes = [seqjax.chrono]
    for make in (seqjax.lstm, seqjax.gru, seqjax.min_gru):
        makes.append(lambda value, make=make: make(4, max_timescale=value))
    makes.append(lambda value: seqjax.gru(4, max_timescale=value, reset_after=False))
    for make in makes:
        with raises("`max_timescale` must be greater than 2 steps, got"):
            make(max_timescale)


def test_unknown_cell_name():
    with raises("unknown cell 'lstn'; the known cells are rnn, lstm, gru, min_gru."):
        seqjax.make_cell("lstn", 4)
