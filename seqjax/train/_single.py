"""One seed that trains by itself, and what it left."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import jax
import numpy as np

from seqjax.train._callbacks import Callback
from seqjax.train._checkpoints import Checkpoints
from seqjax.train._errors import RunError
from seqjax.train._loop import FitResult, Member, Options, training
from seqjax.train._mesh import shard
from seqjax.train._preemption import asked_to_stop
from seqjax.train._run_folder import RunFolder
from seqjax.train._state import PyTree, TrainState
from seqjax.train._step import TrainStep


def fit(
    train: TrainStep,
    params: PyTree,
    train_batches: Callable[[int], Iterable[PyTree]],
    validate: Callable[[PyTree], Mapping[str, float]],
    *,
    key: jax.Array,
    run: RunFolder,
    seed: int,
    epochs: int,
    monitor: str,
    mode: Literal["max", "min", "last"] = "max",
    patience: int | None = None,
    log_every: int = 50,
    checkpoint_every: int | None = None,
    checkpoint_seconds: float = 10.0,
    probe: Callable[[PyTree], Mapping[str, float]] | None = None,
    probe_every: int | None = None,
    callbacks: Sequence[Callback] = (),
    place: tuple[int, int] = (0, 1),
) -> FitResult:
    """Trains one seed, from its newest checkpoint if it has one.

    A run that was killed at any moment and resumed ends with the same bits as one that was not,
    provided `train_batches` gives the same batches for the same epoch. A seed that had finished
    is read back, not trained again. SIGTERM of a machine that is taken away, and SIGHUP of a
    terminal that is closed, end training after the step in progress, and save that.

    Args:
      train: from `make_train_step`.
      params: initial parameters; not touched.
      train_batches: epoch (1, 2, ...) to its batches, host arrays with the examples first. Their
        number is shown if they have a length.
      validate: parameters to named metrics, at the end of every epoch.
      key: PRNG key of everything random in the steps.
      run: folder to report to and resume from.
      seed: names the checkpoints and the rows of metrics.
      epochs: how many to train at most.
      monitor: name of the validation metric that chooses the best parameters.
      mode: whether the monitored metric should be large or small; "last" takes the parameters of
        the last epoch whatever the metric says, for a schedule that is fixed beforehand.
      patience: stop after this many epochs without a better value; never by default.
      log_every: steps between two rows of metrics.
      checkpoint_every: steps between checkpoints inside an epoch; only at its end by default.
      checkpoint_seconds: a checkpoint that is not the first, the last, or of a run that is stopped,
        is left out where the one before is not yet that old.
      probe: parameters (those of training, not their average) to named numbers, such as
        `seqjax.gradflow.make_probe` makes; written as rows of the kind "probe". It must not
        change anything.
      probe_every: steps between two probes; `log_every` by default.
      callbacks: they hear every row and checkpoint, and may end training after an epoch.
      place: how many seeds of the run are done, and how many it has; for the progress bar, which is
        one over the whole run.

    Returns:
      The best parameters and their record.

    Raises:
      DivergedError: if the loss, the gradient, the monitored metric, or a parameter that is to be
        saved is not finite.
      RunError: if the seed's checkpoints are all damaged, or of another configuration.
      StoppedError: after SIGTERM or SIGHUP.
      ValueError: if an epoch has no batches, or `validate` does not return `monitor`.
    """
    options = Options(
        epochs=epochs, monitor=monitor, mode=mode, patience=patience, log_every=log_every,
        checkpoint_every=checkpoint_every, checkpoint_seconds=checkpoint_seconds, probe=probe,
        probe_every=probe_every, callbacks=callbacks,
    )  # fmt: skip
    with asked_to_stop() as stopping:
        asking = training(
            Member(train, params, train_batches, validate, key, run, seed, f"seed {seed}"),
            options,
            stopping=stopping,
            place=place,
        )
        with contextlib.closing(asking):
            try:
                state = next(asking)
                group = asking.send(lambda: state)
                while True:
                    state, record = _update(train, state, group)
                    group = asking.send(record)
            except StopIteration as end:
                return end.value


def _update(
    train: TrainStep, state: TrainState, group: Sequence[PyTree]
) -> tuple[TrainState, dict[str, jax.Array]]:
    if len(group) == 1:
        return train.update(state, shard(train.mesh, group[0]))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *group)
    return train.updates(state, shard(train.mesh, stacked, axis=1))


def best_params(run: RunFolder, seed: int, like: PyTree) -> PyTree:
    """Reads the best parameters of a seed that has been trained.

    Args:
      run: the run's folder.
      seed: which seed.
      like: parameters of the same structure, shapes and dtypes.

    Returns:
      The parameters.

    Raises:
      RunError: if the seed has no checkpoint, or a damaged one.
    """
    with contextlib.closing(Checkpoints(run.checkpoints(seed), run.config)) as checkpoints:
        if checkpoints.empty:
            raise RunError(f"{run.path} holds no checkpoint of seed {seed}; train it first.")
        return checkpoints.restore({"best": like})[0]["best"]
