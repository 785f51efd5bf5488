"""A checkpoint is whole, of this configuration and undamaged, or it is refused in one line."""

import json
import os
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from marks import with_usual

from seqjax.train import RunError
from seqjax.train._checkpoints import Checkpoints, Position
from seqjax.train._record import params_sha256

# Where one file cannot be read, Orbax abandons its reads of the others, and their callbacks find a
# closed event loop: noise of the process, which may come while another test runs.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CONFIG = {"rate": 0.1, "model": {"size": 4, "cell": "gru"}}


def tree(scale=1.0):
    noise = jax.random.normal(jax.random.key(3), (50, 40)) * scale
    return {"w": noise, "half": jnp.ones(3, jnp.bfloat16), "key": jax.random.key(5), "none": None}


def saved(path, num=1):
    checkpoints = Checkpoints(path, CONFIG)
    position = Position(epoch=3, epoch_totals={"loss": 1 / 3})
    for i in range(num):
        checkpoints.save({"tree": tree(i + 1.0), "other": jnp.ones(2)}, position)
    checkpoints.close()
    return position


def restored(path, config=CONFIG, **options):
    checkpoints = Checkpoints(path, config)
    try:
        trees, position = checkpoints.restore({"tree": tree()}, **options)
        return trees["tree"], position
    finally:
        checkpoints.close()


def test_round_trip(tmp_path):
    position = saved(tmp_path, num=4)
    found, where = restored(tmp_path)
    assert params_sha256(found) == params_sha256(tree(4.0))
    assert found["none"] is None
    assert found["key"].dtype == tree()["key"].dtype
    assert where == position
    assert len([d for d in tmp_path.iterdir() if d.name.isdigit()]) == 2


def test_empty(tmp_path):
    checkpoints = Checkpoints(tmp_path / "deep" / "er", CONFIG)
    assert checkpoints.empty
    checkpoints.close()


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path.relative_to(tmp_path) / "here")
    assert restored(tmp_path / "here")[1].epoch == 3


def test_unfinished_save_is_ignored(tmp_path):
    saved(tmp_path)
    half = tmp_path / "2.orbax-checkpoint-tmp" / "tree.orbax-checkpoint-tmp"
    half.mkdir(parents=True)
    (half / "d").write_bytes(b"half")
    assert restored(tmp_path)[1].saves == 1
    assert not half.exists()
    checkpoints = Checkpoints(tmp_path, CONFIG)
    checkpoints.save(
        {"tree": tree()}, Position(saves=1)
    )  # the very number that was left unfinished
    checkpoints.close()
    assert restored(tmp_path)[1].saves == 2


def test_other_config(tmp_path):
    saved(tmp_path)
    other = {"rate": 0.1, "model": {"size": 8, "cell": "gru"}, "new": True}
    with pytest.raises(
        RunError, match=r"model.size was 4, is now 8; new was absent, is now True\."
    ):
        restored(tmp_path, other)


def biggest(path):
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path, number=1):
    file = biggest(path / str(number))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def truncate(path, number=1):
    file = biggest(path / str(number))
    os.truncate(file, file.stat().st_size // 2)


def remove(path, number=1):
    biggest(path / str(number)).unlink()


def spoil_position(path, number=1):
    (path / str(number) / "about" / "metadata").write_text('{"config": {')


def spoil_config(path, number=1):
    spoil_about(path, number, config=[])


def spoil_step(path, number=1):
    spoil_about(path, number, position={"step": "3"})


def spoil_about(path, number, **changes):
    file = path / str(number) / "about" / "metadata"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# A file of numbers that is another, one that is gone, and what is said about them.
USUAL = (flip, remove, spoil_position)


def each(*damages):
    return with_usual(damages, USUAL)


@pytest.mark.parametrize(
    "damage", each(flip, truncate, remove, spoil_position, spoil_config, spoil_step)
)
@pytest.mark.usefixtures("abandoned_reads")
def test_damage_is_one_line(tmp_path, damage, capfd):
    saved(tmp_path)
    damage(tmp_path)
    for resume in (False, True):  # there is none to fall back to
        with pytest.raises(RunError, match=r"The checkpoint .*/1 is damaged \(") as error:
            restored(tmp_path, resume=resume)
        assert "\n" not in str(error.value)
    assert (tmp_path / "1").exists()
    assert capfd.readouterr().err == ""


def test_bytes_are_compared(tmp_path, monkeypatch):
    saved(tmp_path)
    monkeypatch.setattr("seqjax.train._checkpoints.params_sha256", lambda tree: "0" * 64)
    with pytest.raises(RunError, match="bytes are not those that were saved"):
        restored(tmp_path)


def test_not_writable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be opened"):
        Checkpoints(tmp_path / "file" / "seed_0", CONFIG)


@pytest.mark.parametrize("damage", each(flip, truncate, remove, spoil_position))
@pytest.mark.usefixtures("abandoned_reads")
def test_the_one_before_is_used(tmp_path, damage, capfd):
    saved(tmp_path, num=2)
    damage(tmp_path, 2)
    checkpoints = Checkpoints(tmp_path, CONFIG)
    trees, position = checkpoints.restore({"tree": tree()}, resume=True)
    np.testing.assert_array_equal(trees["tree"]["w"], tree(1.0)["w"])
    assert re.fullmatch(
        r"The checkpoint .*/2 is damaged \(.*\)\. Going on from the one before it\.\n",
        capfd.readouterr().err,
    )
    assert position.saves == 1
    checkpoints.save({"tree": tree(5.0), "other": jnp.ones(2)}, position)  # its number is free
    checkpoints.close()
    np.testing.assert_array_equal(restored(tmp_path)[0]["w"], tree(5.0)["w"])


@pytest.mark.usefixtures("abandoned_reads")
def test_a_finished_run_is_not_asked_with_other_parameters(tmp_path):
    saved(tmp_path, num=2)
    flip(tmp_path, 2)
    with pytest.raises(RunError, match="/2 is damaged"):
        restored(tmp_path)
    assert (tmp_path / "2").exists()


@pytest.mark.usefixtures("abandoned_reads")
def test_what_is_set_aside_does_not_pile_up(tmp_path):
    for _ in range(3):
        shutil.rmtree(tmp_path / "1", ignore_errors=True)
        shutil.rmtree(tmp_path / "2", ignore_errors=True)
        saved(tmp_path, num=2)
        flip(tmp_path, 2)
        assert restored(tmp_path, resume=True)[1].saves == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "damaged_2"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("jax_enable_x64", True, "JAX_ENABLE_X64 was False, is now True"),
        ("jax_default_matmul_precision", "float32", "PRECISION was None, is now float32"),
        ("jax_default_prng_impl", "rbg", "JAX_DEFAULT_PRNG_IMPL was threefry2x32, is now rbg"),
        ("jax_threefry_partitionable", False, "PARTITIONABLE was True, is now False"),
    ],
)
def test_another_configuration_of_jax_is_refused(tmp_path, name, value, said):
    """It would go on with other bits; a finished run may be asked all the same."""
    saved(tmp_path)
    before = getattr(jax.config, name)
    wanted = tree()
    try:
        jax.config.update(name, value)
        checkpoints = Checkpoints(tmp_path, CONFIG)
        with pytest.raises(RunError, match=rf"/1 has other settings: .*{said}\."):
            checkpoints.restore({"tree": wanted}, resume=True)
        checkpoints.restore({"tree": wanted})
        checkpoints.close()
    finally:
        jax.config.update(name, before)


def test_going_back_by_hand(tmp_path):
    saved(tmp_path, num=2)
    shutil.rmtree(tmp_path / "2")
    np.testing.assert_array_equal(restored(tmp_path)[0]["w"], tree(1.0)["w"])
