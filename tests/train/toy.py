"""A toy run: a linear model on made-up points, small enough to train in a blink."""

import functools
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.train import data_mesh, fit, make_train_step, open_run

CONFIG = {"rate": 0.05, "model": {"size": 3}}
TRUTH = np.array([1.0, -2.0, 0.5], np.float32)
TIMES = ("wall_s", "examples_per_s")


def loss(params, key, batch):
    """Squared error of a linear model on inputs with a little noise, so that the key matters."""
    x = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
    error = x @ params["w"] + params["b"] - batch["y"]
    right = (jnp.abs(error) < 0.5).sum()
    return jnp.mean(error**2), {"accuracy": right, "weight": error.size}


def init():
    """Initial parameters."""
    return {"w": jnp.zeros(3), "b": jnp.zeros(())}


def batches(epoch, num=7, size=8):
    """The batches of an epoch, drawn from its number."""
    rng = np.random.default_rng(epoch)
    for _ in range(num):
        x = rng.normal(size=(size, 3)).astype(np.float32)
        yield {"x": x, "y": x @ TRUTH + 1}


def validate(params):
    """Accuracy and error on fixed points."""
    batch = next(batches(0, size=64))
    error = batch["x"] @ params["w"] + params["b"] - batch["y"]
    return {"accuracy": jnp.mean(jnp.abs(error) < 0.5), "mse": jnp.mean(error**2)}


@functools.cache
def make(num_devices=1, ema_decay=0.9, per_dispatch=None):
    """A step with everything that has state: clipping, Adam, a moving average."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(CONFIG["rate"]))
    mesh = data_mesh(num_devices)
    return make_train_step(
        loss, optimizer, ema_decay=ema_decay, mesh=mesh, per_dispatch=per_dispatch
    )


def train(workdir, *, resume=False, seed=0, step=None, config=CONFIG, params=None, **changes):
    """Trains one seed with settings that exercise every branch of the loop."""
    settings = {
        "train_batches": batches,
        "validate": validate,
        "epochs": 4,
        "monitor": "mse",
        "mode": "min",
        "log_every": 3,
        "checkpoint_every": 4,
        "checkpoint_seconds": 0,
        **changes,
    }
    run = open_run(workdir, config, resume=resume)
    return fit(
        step or make(),
        init() if params is None else params,
        settings.pop("train_batches"),
        settings.pop("validate"),
        key=jax.random.key(seed),
        run=run,
        seed=seed,
        **settings,
    )


def rows(workdir):
    """Metrics of a run without what depends on the clock."""
    found = open_run(workdir, CONFIG, resume=True).metrics()
    return [{k: v for k, v in row.items() if k not in TIMES} for row in found]


if __name__ == "__main__":
    # A slow run for a test to kill.
    def slow(epoch):
        """Batches that leave time for a kill."""
        for batch in batches(epoch):
            time.sleep(0.05)
            yield batch

    train(sys.argv[1], train_batches=slow)
