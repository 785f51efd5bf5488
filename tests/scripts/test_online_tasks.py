"""The table of which online method learns which task, on networks of three units."""

import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import online_tasks


@pytest.fixture(autouse=True)
def small(monkeypatch):
    flags = SimpleNamespace(
        seeds=2, updates=4, hidden_size=3, batch_size=2, learning_rate=0.01, adding_length=3,
        copying_delay=2, test_size=50,
    )  # fmt: skip
    monkeypatch.setattr(online_tasks, "FLAGS", flags)
    monkeypatch.setattr(online_tasks, "CHUNK", 2)


def test_copying_and_its_chance():
    task = online_tasks.copying()
    inputs, targets = task.draw(np.random.default_rng(0), 50)
    np.testing.assert_array_equal(inputs.argmax(-1)[:, :2], targets[:, -2:])
    assert (targets[:, :-2] == 4).all()
    assert (inputs.argmax(-1)[:, 3] == 5).all()  # the signal
    guess = np.full((6, 50, 5), -1e9)
    guess[:4, :, 4], guess[4:, :, :4] = 0, 0
    assert float(task.loss(jnp.asarray(guess), jnp.asarray(targets))) == pytest.approx(task.chance)


@pytest.mark.parametrize(
    ("cell", "method"),
    [pytest.param("gru", "uoro", marks=pytest.mark.extended), ("leaky_rnn", "rflo")],
)
def test_a_row_of_the_table(cell, method):
    task = online_tasks.adding()
    losses = online_tasks.train_seeds(task, cell, method)
    assert losses.shape == (2,)
    assert losses[0] != losses[1]
    assert (losses < 20 * task.chance).all()
    assert online_tasks.entry(task, np.array([0.1, 2.0]) * task.chance) == "1.05, 1 of 2 learnt"
