"""A user's own cell by name: what is taken, and what is refused before anything is run."""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import pytest

import seqjax
from seqjax.cells import USER_CELLS, Cell, HiddenState


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr("seqjax.cells._registry.USER_CELLS", known := dict(USER_CELLS))
    return known


@dataclasses.dataclass(frozen=True, repr=False)
class Leaky(Cell):
    """A leaky sum, wrong in a way of one's choice."""

    rate: Any = 0.1
    dtype: Any = None
    outputs: int | None = None

    def init(self, key, in_size, dtype=jnp.float32):
        return jnp.ones((in_size, self.hidden_size), dtype)

    def initial_state(self, params, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_shape, self.hidden_size), dtype))

    def project(self, params, xs):
        return xs @ params

    def step(self, params, state, drive):
        hidden = state.hidden + self.rate * drive
        return HiddenState(hidden.astype(self.dtype or drive.dtype))

    def output(self, params, states, xs):
        return states.hidden[..., : self.outputs]


leaky = functools.partial(Leaky, name="leaky")


def test_a_registered_cell_is_made_with_its_options(registry):
    seqjax.register_cell("leaky", leaky)
    seqjax.register_cell("package.module:leaky", leaky)
    cell = seqjax.make_cell("leaky", 2, rate=0.5)
    ys, _ = seqjax.unroll(cell, jnp.ones((3, 2)), jnp.ones((2, 1, 3)))
    assert ys[:, 0, 0].tolist() == [1.5, 3.0]
    assert set(registry) >= {"leaky", "package.module:leaky"}
    with pytest.raises(ValueError, match=r"known cells are rnn, lstm, gru, min_gru, .*leaky"):
        seqjax.make_cell("leeky", 2)


def test_a_name_given_anew_is_the_new_cell():
    seqjax.register_cell("mine", leaky)
    seqjax.register_cell("mine", seqjax.gru)
    assert str(seqjax.make_cell("mine", 3)) == "gru(3)"


@pytest.mark.parametrize("name", ["", "two words", "a,b", "1st", "a:b:c", "bi:module:cell"])
def test_refuses_a_name_that_a_flag_cannot_say(name):
    with pytest.raises(ValueError, match="must consist of letters, digits and underscores"):
        seqjax.register_cell(name, leaky)


@pytest.mark.parametrize("name", ["lstm", "bilinear"])
def test_refuses_a_name_that_means_something_else(name):
    with pytest.raises(ValueError, match="or start with"):
        seqjax.register_cell(name, leaky)


@pytest.mark.parametrize(
    ("constructor", "message"),
    [
        (lambda: None, r"called as constructor\(hidden_size\), got .*: too many positional"),
        (3, r"`constructor` must be a function .*, got 3\."),
        (lambda size: size / 0, r"constructor\(8\) raised ZeroDivisionError"),
        (lambda hidden_size: 3, "must return a seqjax.cells.Cell, got int"),
        (lambda size: leaky(size, rate=jnp.ones(5)), "must run on two sequences, but it raised"),
        (lambda size: leaky(size, dtype=jnp.bfloat16), r"dtypes of its state, .*got .*bfloat16"),
        (lambda size: leaky(size, outputs=3), r"\(B, H\) = \(2, 8\), got \(2, 3\)"),
    ],
)
def test_refuses_what_makes_no_cell(constructor, message, registry):
    with pytest.raises(TypeError, match=message):
        seqjax.register_cell("mine", constructor)
    assert "mine" not in registry
