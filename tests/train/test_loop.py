"""What the loop reports, chooses and refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from seqjax.train import DivergedError, RunError, make_train_step
from seqjax.train._loop import _groups
from seqjax.train._record import params_sha256


def test_learns_and_reports(tmp_path, capfd):
    result = toy.train(tmp_path, epochs=12)
    assert result.validation["mse"] < 0.2
    assert result.steps == 12 * 7
    rows = toy.rows(tmp_path)
    steps = [row for row in rows if row["kind"] == "step"]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    assert [row["step"] for row in steps] == list(range(3, 85, 3))
    assert [row["epoch"] for row in epochs] == list(range(1, 13))
    assert set(epochs[0]) == {
        *("kind", "seed", "epoch", "step"),
        *("train_loss", "train_accuracy", "grad_norm", "val_accuracy", "val_mse"),
    }
    assert all(np.isfinite(row["grad_norm"]) for row in rows)
    assert list((tmp_path / "tensorboard" / "seed_0").iterdir())
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 12  # no terminal: one line an epoch, and not a word of Orbax
    assert lines[0].startswith("seed 0 epoch 1/12: train loss ")


def test_averages_are_over_examples(tmp_path):
    step = toy.make(ema_decay=None)
    unequal = [next(toy.batches(1, size=size)) for size in (8, 2)]
    toy.train(tmp_path, step=step, train_batches=lambda _: unequal, epochs=1)
    state = step.init(toy.init(), jax.random.key(0))
    total = 0.0
    for batch in unequal:
        state, record = step.update(state, batch)
        total += float(record["loss"]) * len(batch["y"])
    assert toy.rows(tmp_path)[-1]["train_loss"] == pytest.approx(total / 10, rel=1e-6)


@pytest.mark.parametrize(("mode", "best"), [("max", 3), ("min", 2)])
def test_keeps_the_best_and_stops(tmp_path, mode, best):
    scores = iter([0.5, 0.2, 0.9, 0.9, 0.6, 0.7])
    seen = []

    def validate(params):
        seen.append(params_sha256(params))
        return {"score": next(scores)}

    result = toy.train(
        tmp_path, validate=validate, monitor="score", mode=mode, patience=2, epochs=9
    )
    assert result.best_epoch == best
    assert result.epochs_run == best + 2
    assert params_sha256(result.params) == seen[best - 1]


def test_takes_the_last_epoch_where_nothing_is_to_be_chosen(tmp_path):
    scores = iter([0.5, 0.2, 0.9, 0.6])
    seen = []

    def validate(params):
        seen.append(params_sha256(params))
        return {"score": next(scores)}

    result = toy.train(
        tmp_path, validate=validate, monitor="score", mode="last", patience=1, epochs=4
    )
    assert (result.best_epoch, result.epochs_run) == (4, 4)
    assert params_sha256(result.params) == seen[-1]


def test_validates_the_average(tmp_path):
    seen = []

    def validate(params):
        seen.append(float(params["b"]))
        return {"mse": 0.0}

    step = toy.make()
    toy.train(tmp_path, step=step, validate=validate, epochs=1)
    state = step.init(toy.init(), jax.random.key(0))
    for batch in toy.batches(1):
        state, _ = step.update(state, batch)
    assert seen == [float(state.average["b"])]
    assert seen != [float(state.params["b"])]


def poisoned(step):
    def batches(epoch):
        for i, batch in enumerate(toy.batches(epoch)):
            if (epoch, i) == (2, step):
                batch["y"][0] = np.nan
            yield batch

    return batches


@pytest.mark.parametrize(("index", "step"), [(0, 8), (1, 9), (6, 14)])
def test_stops_at_nan(tmp_path, index, step):
    with pytest.raises(FloatingPointError, match=rf"diverged at step {step} \(seed 0, epoch 2\)"):
        toy.train(tmp_path, train_batches=poisoned(index), log_every=5, checkpoint_every=None)
    with pytest.raises(FloatingPointError, match=r"gradient of \['b'\] and 1 more of 2 parameters"):
        toy.train(tmp_path, train_batches=poisoned(index), log_every=5, resume=True)
    # The last checkpoint is sound.
    assert np.isfinite(toy.train(tmp_path, resume=True).validation["mse"])


def test_names_the_parameter_that_diverged(tmp_path):
    # The gradient of the square root of 0 is infinite, times 0 it is NaN, and only there.
    def loss(params, key, batch):
        bad = jnp.sqrt(0.0 * params["w"][0]) * (batch["y"].mean() > 0)
        return jnp.mean((params["b"] - batch["y"]) ** 2) + bad, {"accuracy": 0.0, "weight": 1.0}

    step = make_train_step(loss, optax.sgd(0.1), mesh=toy.data_mesh(1))
    with pytest.raises(DivergedError, match=r"at step 1 .*not finite in the gradient of \['w'\]\."):
        toy.train(tmp_path, step=step)


def test_stops_at_nan_validation(tmp_path):
    with pytest.raises(DivergedError, match=r"gave mse nan \(seed 0, epoch 1\).*learning rate"):
        toy.train(tmp_path, validate=lambda _: {"mse": jnp.nan})
    assert issubclass(DivergedError, RunError)


@pytest.mark.parametrize("num_devices", [1, 2])
def test_compiles_once_a_shape(tmp_path, caplog, num_devices):
    mesh = toy.data_mesh(num_devices)
    step = make_train_step(toy.loss, optax.adam(0.1), ema_decay=0.5, mesh=mesh)
    data = [next(toy.batches(1, size=size)) for size in (8, 4, 8, 4)]
    with jax.log_compiles():
        for seed in (0, 1):
            toy.train(
                tmp_path,
                resume=True,
                seed=seed,
                step=step,
                train_batches=lambda _: data,
                epochs=2,
            )
    compiled = [
        r for r in caplog.messages if r.startswith("Finished XLA compilation of jit(update)")
    ]
    assert len(compiled) == 2


def test_refuses(tmp_path):
    def attempt(**changes):
        toy.train(tmp_path, resume=True, **changes)

    with pytest.raises(
        ValueError, match=r"must return the monitored metric 'f1'.*'accuracy', 'mse"
    ):
        attempt(monitor="f1")
    with pytest.raises(ValueError, match="'max', 'min' or 'last', got 'low'"):
        attempt(mode="low")
    with pytest.raises(ValueError, match="epoch 1 has no batches"):
        attempt(train_batches=lambda _: [], seed=1)
    with pytest.raises(ValueError, match="at least 1, got 0 and 3"):
        attempt(epochs=0)


def test_groups_end_where_something_is_due_and_where_the_shape_changes():
    sizes = [4, 4, 4, 4, 4, 4, 2, 2, 4, 4]
    batches = [np.full((size, 1), i) for i, size in enumerate(sizes)]

    def groups(size, step, periods, begin=0):
        made = _groups(batches[begin:], size, step + begin, begin, periods)
        return [[int(batch[0, 0]) for batch in group] for group in made]

    whole = groups(3, 100, [4, 50])  # due after steps 104, which is batch 3, and 108
    assert whole == [[0, 1, 2], [3], [4], [5], [6], [7], [8], [9]]
    assert [len(group) for group in groups(2, 0, [4])] == [2, 2, 2, 2, 2]
    assert [len(group) for group in groups(1, 0, [4])] == [1] * 10
    # Resuming behind any group meets the rest of them.
    for periods in ([4, 50], [100]):
        whole = groups(3, 100, periods)
        for i, group in enumerate(whole):
            assert groups(3, 100, periods, begin=group[-1] + 1) == whole[i + 1 :]


def test_several_steps_a_dispatch_are_one_program_call(tmp_path):
    calls = []

    def watched(name, function):
        def call(state, batch):
            calls.append((name, jax.tree.leaves(batch)[0].shape))
            return function(state, batch)

        return call

    step = toy.make(per_dispatch=3)
    step = step._replace(update=watched("one", step.update), updates=watched("three", step.updates))
    toy.train(tmp_path, step=step, epochs=1, log_every=100, checkpoint_every=None)
    assert calls == [("three", (3, 8, 3)), ("three", (3, 8, 3)), ("one", (8, 3))]


def test_divergence_inside_a_dispatch_names_its_step(tmp_path):
    def batches(epoch):
        for i, batch in enumerate(toy.batches(epoch)):
            yield {**batch, "y": batch["y"] * np.float32(np.nan if i == 4 else 1)}

    with pytest.raises(DivergedError, match="diverged at step 5 "):
        toy.train(tmp_path, step=toy.make(per_dispatch=3), train_batches=batches, log_every=7)
