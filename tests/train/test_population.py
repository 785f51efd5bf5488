"""Members of a population: each learns what it would learn alone, whatever the others do."""

import json
import shutil
import signal
import time

import jax
import numpy as np
import optax
import pytest
import toy

from seqjax import train
from seqjax.train._population import can_train_together
from seqjax.train._record import params_sha256

EXTENDED = pytest.mark.extended
RATES = (0.05, 0.01, 0.2)


def make(rate=0.05, ema_decay=0.9):
    """A step with its learning rate in the state, on all devices."""
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.inject_hyperparams(optax.adam)(learning_rate=rate)
    )
    return train.make_train_step(toy.loss, optimizer, ema_decay=ema_decay)


def batches(seed, epoch, size=8):
    """Batches that differ between seeds."""
    return toy.batches(100 * seed + epoch, size=size)


def member(path, seed, rate, *, resume=False, **changes):
    """A member with a folder of its own."""
    run = train.open_run(path / str(seed), {"rate": rate}, resume=resume)
    settings = {
        "train": make(rate),
        "params": toy.init(),
        "train_batches": lambda epoch: batches(seed, epoch),
        "validate": toy.validate,
    }
    who = {"key": jax.random.key(seed), "run": run, "seed": seed, "name": f"member {seed}"}
    return train.Member(**{**settings, **changes}, **who)


IGNORED = (*toy.TIMES, "kind")
OPTIONS = {"epochs": 2, "monitor": "mse", "mode": "min", "log_every": 3}
OPTIONS |= {"checkpoint_every": 5, "checkpoint_seconds": 0}


def together(path, rates=RATES, *, resume=False, changes=None, **options):
    """Trains one member a rate."""
    members = [
        member(path, seed, rate, resume=resume, **(changes or {}).get(seed, {}))
        for seed, rate in enumerate(rates)
    ]
    return train.fit_together(members, **{**OPTIONS, **options})


def alone(path, seed, rate):
    """Trains a member by itself."""
    each = member(path, seed, rate)
    rest = {"key": each.key, "run": each.run, "seed": seed, **OPTIONS}
    return train.fit(each.train, each.params, each.train_batches, each.validate, **rest)


@pytest.mark.parametrize(  # on two devices: along batch, and members
    "rates", [RATES, pytest.param(RATES[:2], marks=EXTENDED)]
)
def test_each_learns_what_it_would_learn_alone(tmp_path, rates):
    for seed, found in enumerate(together(tmp_path / "together", rates)):
        wanted = alone(tmp_path / "alone", seed, rates[seed])
        assert (found.best_epoch, found.steps) == (wanted.best_epoch, wanted.steps)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            found.params,
            wanted.params,
        )
        rows = [
            [
                {k: v for k, v in row.items() if k not in (*toy.TIMES, "kind")}
                for row in run.metrics()
            ]
            for run in (
                train.open_run(tmp_path / how / str(seed), {"rate": rates[seed]}, resume=True)
                for how in ("together", "alone")
            )
        ]
        assert len(rows[0]) == len(rows[1]) == 4 + 2
        for mine, other in zip(*rows, strict=True):
            assert mine == pytest.approx(other, rel=1e-4, abs=1e-6)


def scores(values):
    """A validation with these results."""
    rest = list(values)
    return {"validate": lambda params: {"mse": rest.pop(0)}}


EARLY = [0.1, 0.5]  # of member 0, which stops after two epochs while the others go on


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A population that nobody disturbed."""
    path = tmp_path_factory.mktemp("whole")
    return together(path, epochs=3, patience=1, changes={0: scores(EARLY)})


@pytest.mark.parametrize(
    "moment",
    [(0, 1, 2), *(pytest.param(each, marks=EXTENDED) for each in ((1, 2, 0), (2, 3, 5)))],
)
def test_stopped_and_resumed_ends_with_the_same_bits(tmp_path, whole, moment):
    """SIGTERM in the batches of any member, also when another has ended."""
    assert [result.epochs_run for result in whole] == [2, 3, 3]
    who, when, step = moment

    def dealt(epoch):
        for number, batch in enumerate(batches(who, epoch)):
            if (epoch, number) == (when, step):
                signal.raise_signal(signal.SIGTERM)
            yield batch

    changes = {0: scores(EARLY)}
    changes[who] = {**changes.get(who, {}), "train_batches": dealt}
    with pytest.raises(train.StoppedError, match="Stopped by a signal after step"):
        together(tmp_path, epochs=3, patience=1, changes=changes)
    rows = train.open_run(tmp_path / "0", {"rate": RATES[0]}, resume=True).metrics()
    done = sum(row["kind"] == "epoch" for row in rows)
    changes = {0: scores(EARLY[done:])}
    found = together(tmp_path, epochs=3, patience=1, changes=changes, resume=True)
    for mine, other in zip(found, whole, strict=True):
        assert params_sha256(mine.params) == params_sha256(other.params)
        assert mine.epochs_run == other.epochs_run


def test_a_callback_ends_the_member_that_it_names(tmp_path):
    heard = []

    class EndsTheFirst(train.Callback):
        def on_row(self, row):
            heard.append((row["seed"], row["epoch"]))

        def stops(self, row):
            return row["seed"] == 0

    results = together(tmp_path, epochs=2, patience=None, callbacks=[EndsTheFirst()])
    assert [result.epochs_run for result in results] == [1, 2, 2]
    assert {*heard} == {(0, 1), (1, 1), (1, 2), (2, 1), (2, 2)}


def test_seconds_add_up_to_those_of_the_program(tmp_path):
    start = time.monotonic()
    results = together(tmp_path)
    assert sum(result.wall_s for result in results) < time.monotonic() - start
    assert all(result.wall_s > 0 for result in results)


def test_one_that_diverges_is_named(tmp_path):
    def poisoned(epoch):
        for number, batch in enumerate(batches(1, epoch)):
            if (epoch, number) == (2, 2):
                batch["y"][0] = np.nan
            yield batch

    with pytest.raises(train.DivergedError, match=r"at step 10 \(member 1, epoch 2\)"):
        together(tmp_path, changes={1: {"train_batches": poisoned}})
    # Nothing of the others is lost.
    assert [result.epochs_run for result in together(tmp_path, resume=True)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_batches": lambda epoch: batches(1, epoch, size=4)}, "batches of members must"),
        ({"params": {"w": np.zeros(4, np.float32), "b": np.zeros((), np.float32)}}, "states of"),
        ({"train": make(ema_decay=None)}, "states of members must agree in structure"),
    ],
)
def test_members_that_do_not_agree_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        together(tmp_path, changes={1: changes})


@pytest.mark.parametrize(
    ("shape", "wanted"), [("members", True), ("batch", False), ("auto", False)]
)
def test_who_trains_together_is_a_matter_of_the_mesh(shape, wanted):
    assert can_train_together(make(), shape) is wanted


def test_time_over_devices_is_for_one_member():
    step = make()._replace(mesh=train.data_mesh(4, "time2"))
    assert not can_train_together(step, "members")


def test_accelerators_are_shared_by_members(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert can_train_together(make())


def in_one_folder(path, *, resume=False, fails=None):
    """Two seeds of one run; of one the batches may fail."""
    members = []
    for seed in (0, 1):
        each = member(path, 0, 0.05, resume=resume or seed > 0)
        mine = {"train_batches": lambda epoch, seed=seed: batches(seed, epoch), "seed": seed}
        members.append(each._replace(key=jax.random.key(seed), **mine))
    if fails is not None:
        members[1] = members[1]._replace(train_batches=fails)
    train.fit_together(members, **OPTIONS)
    return (path / "0" / "metrics.jsonl").read_text().splitlines()


def test_rows_have_one_order_wherever_members_were_stopped(tmp_path):
    class Stopped(Exception):
        pass

    def fails(epoch):
        for number, batch in enumerate(batches(1, epoch)):
            if (epoch, number) == (2, 5):
                raise Stopped
            yield batch

    def places(lines):
        found = map(json.loads, lines)
        return [(row["seed"], row["kind"], row["step"], row["train_loss"]) for row in found]

    whole = places(in_one_folder(tmp_path / "whole"))
    assert [seed for seed, *_ in whole] == sorted(seed for seed, *_ in whole)
    with pytest.raises(Stopped):
        in_one_folder(tmp_path / "cut", fails=fails)
    saved = tmp_path / "cut" / "0" / "checkpoints" / "seed_1"
    shutil.rmtree(max(saved.iterdir(), key=lambda path: int(path.name)))  # it stands further back
    assert places(in_one_folder(tmp_path / "cut", resume=True)) == whole
    assert places(in_one_folder(tmp_path / "cut", resume=True)) == whole  # only read back
