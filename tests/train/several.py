"""A run of a small recurrent network for tests with many devices, in one process or several."""

import functools
import os
import signal
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import seqjax
from seqjax import train
from seqjax.train._processes import is_first_process

CONFIG = {"cell": "gru"}
CELLS = {"gru": seqjax.gru(8), "min_gru": seqjax.min_gru(8), "newton": seqjax.gru(8)}
BATCH, STEPS, EPOCHS = 8, 4, 3


def init(cell="gru"):
    """Initial parameters."""
    head = 0.3 * jax.random.normal(jax.random.key(1), (8, 2))
    return {"layer": CELLS[cell].init(jax.random.key(0), 3), "head": head}


def partition(cell):
    """How they may be split."""
    spec = CELLS[cell].partition(init(cell)["layer"])
    return {"layer": spec, "head": jax.sharding.PartitionSpec()}


def outputs(cell, params, xs):
    """Maps (B, T, 3) to (B, T, 2)."""
    xs, executor = jnp.swapaxes(xs, 0, 1), cell if cell == "newton" else None
    ys, _ = seqjax.unroll(CELLS[cell], params["layer"], xs, executor=executor)
    return jnp.swapaxes(ys, 0, 1) @ params["head"]


def loss(cell, params, key, batch, carry):
    """Squared error with noise and something carried on, so that all of a state matters."""
    xs = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
    error = outputs(cell, params, xs) - batch["y"] - carry[:, None, None]
    return jnp.mean(error**2), {"weight": error.size}, 0.5 * carry + xs[:, 0, 0]


def batches(epoch):
    """The batches of an epoch, drawn from its number."""
    rng = np.random.default_rng(epoch)
    for _ in range(STEPS):
        x = rng.normal(size=(BATCH, 9, 3)).astype(np.float32)
        yield {"x": x, "y": np.cumsum(x, axis=1)[..., :2]}


def make(shape="batch", batch_size=BATCH, cell="gru"):
    """A step with all that has state; a batch size of 1 makes it use a single device."""
    return train.make_train_step(
        functools.partial(loss, cell),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01)),
        ema_decay=0.9,
        mesh=train.data_mesh(batch_size, shape),
        carry=np.zeros(BATCH, np.float32),
        partition=partition(cell),
    )


def run(path, step, *, resume=False, train_batches=batches, config=CONFIG, cell="gru", **changes):
    """Trains one seed; validation asks all devices, too."""
    predict = jax.jit(functools.partial(outputs, cell))

    def validate(params):
        batch = next(batches(0))
        found = train.fetch(predict(params, train.shard(step.mesh, batch["x"])))
        return {"mse": np.mean((found - batch["y"]) ** 2)}

    return train.fit(
        step,
        init(cell),
        train_batches,
        validate,
        key=jax.random.key(2),
        run=train.open_run(path, config, resume=resume),
        seed=0,
        epochs=EPOCHS,
        monitor="mse",
        mode="min",
        log_every=3,
        **changes,
    )


def flat(result):
    """Parameters of a result, and its validation error, in one array."""
    leaves = jax.tree.leaves(train.fetch(result.params))
    return np.concatenate([*map(np.ravel, leaves), [result.validation["mse"]]])


def terminated_at(number):
    """Batches during one of which signals come, as to one of several processes."""

    def dealt(epoch):
        for i, batch in enumerate(batches(epoch)):
            if (epoch - 1) * STEPS + i == number:
                for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
                    os.kill(os.getpid(), each)
                time.sleep(3)  # JAX looks for the signal once a second
            yield batch

    return dealt


def several(folder: Path, port: str, process: int) -> None:
    """What each of two processes does; what it comes to is left in files."""
    train.join_processes(f"localhost:{port}", 2, process)
    assert is_first_process() == (process == 0)
    steps = {shape: make(shape) for shape in ("batch", "2x2")}
    found = {s: flat(run(folder / f"two_{s}", step)) for s, step in steps.items()}
    for shape in ("time4", "2xtime2"):
        step = make(shape, cell="min_gru")
        found[shape] = flat(run(folder / f"two_{shape}", step, cell="min_gru"))
    newton = make("2xtime2", cell="newton")
    found["newton"] = flat(run(folder / "two_newton", newton, cell="newton"))
    refused = []
    for changes in ({"config": {"cell": "lstm"}}, {"resume": False}):
        try:
            run(folder / "two_batch", steps["batch"], **{"resume": True, **changes})
        except train.RunError as error:
            refused.append(f"{type(error).__name__}: {error}")
    # Other settings in the second process alone.
    try:
        run(folder / "uneven", steps["batch"], config={"cell": ["gru", "lstm"][process]})
    except train.RunError as error:
        refused.append(f"{type(error).__name__}: {error}")
    stopped = ""
    try:
        dealt = terminated_at(2) if process == 1 else batches
        # With a checkpoint at every step, so that Orbax could ask for the signal as well.
        often = {"checkpoint_every": 1, "checkpoint_seconds": 0}
        run(folder / "stopped", steps["2x2"], train_batches=dealt, **often)
    except train.StoppedError as error:
        stopped = str(error)
    np.savez(folder / f"process_{process}.npz", refused=refused, stopped=stopped, **found)


def one(folder: Path) -> None:
    """What a process with 8 devices does."""
    steps = {shape: make(shape) for shape in ("batch", "4x2")}
    found = {s: flat(run(folder / f"eight_{s}", step)) for s, step in steps.items()}
    found["resumed"] = flat(run(folder / "cut_for_8", steps["4x2"], resume=True))
    split = {shape: make(shape, cell="min_gru") for shape in ("time8", "2xtime4")}
    for shape, step in split.items():
        found[shape] = flat(run(folder / f"eight_{shape}", step, cell="min_gru"))
    newton = make("2xtime4", cell="newton")
    found["newton"] = flat(run(folder / "eight_newton", newton, cell="newton"))
    np.savez(folder / "eight.npz", **found)
    for shape, step in {**steps, **split}.items():
        state = step.init(init("min_gru" if shape in split else "gru"), jax.random.key(0))
        text = step.update.lower(state, train.shard(step.mesh, next(batches(1))))
        (folder / f"{shape}.txt").write_text(text.compile().as_text())
    for shape, step in steps.items():
        state = step.init(init(), jax.random.key(0))
        state, _ = step.update(state, train.shard(step.mesh, next(batches(1))))
        kernel = state.opt_state[1][0].mu["layer"].recurrent_kernel
        (folder / f"{shape}_kernel.txt").write_text(str(kernel.addressable_shards[0].data.shape))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        several(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    else:
        one(Path(sys.argv[1]))
