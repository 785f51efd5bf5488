"""A probe of a run: its rows are logged and resumed, and training does not notice it."""

import jax.numpy as jnp
import pytest
import toy

from seqjax.train._record import params_sha256


class Stopped(Exception):
    """Stands for whatever may stop a run."""


def probe(params):
    return {"weight_norm": float(jnp.linalg.norm(params["w"]))}


def test_rows_and_bits(tmp_path):
    def stopping(epoch):
        for number, batch in enumerate(toy.batches(epoch)):
            if (epoch, number) == (2, 6):
                raise Stopped
            yield batch

    plain = toy.train(tmp_path / "plain")
    probed = toy.train(tmp_path / "probed", probe=probe, probe_every=5)
    with pytest.raises(Stopped):
        toy.train(tmp_path / "cut", train_batches=stopping, probe=probe, probe_every=5)
    resumed = toy.train(tmp_path / "cut", resume=True, probe=probe, probe_every=5)

    assert params_sha256(plain.params) == params_sha256(probed.params)
    assert params_sha256(resumed.params) == params_sha256(probed.params)
    rows = toy.rows(tmp_path / "probed")
    assert toy.rows(tmp_path / "cut") == rows
    assert [row for row in rows if row["kind"] != "probe"] == toy.rows(tmp_path / "plain")
    found = [row for row in rows if row["kind"] == "probe"]
    assert [row["step"] for row in found] == [5, 10, 15, 20, 25]
    assert all(row["weight_norm"] > 0 for row in found)
    assert set(found[0]) == {"kind", "seed", "epoch", "step", "weight_norm"}


def test_as_often_as_the_log(tmp_path):
    toy.train(tmp_path, probe=probe, epochs=1)
    rows = [row for row in toy.rows(tmp_path) if row["kind"] == "probe"]
    assert [row["step"] for row in rows] == [3, 6]


def test_refuses(tmp_path):
    with pytest.raises(ValueError, match="at least 1 and needs a `probe`, got 3 and None"):
        toy.train(tmp_path, probe_every=3)
    with pytest.raises(ValueError, match="at least 1 and needs a `probe`, got 0"):
        toy.train(tmp_path, probe=probe, probe_every=0, resume=True)
