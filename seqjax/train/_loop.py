"""The training loop of one seed: epochs, validation, early stopping, checkpoints, resuming.

The loop is a generator that asks for updates instead of making them, so that one that trains alone
and one among others (`population.py`) are the same loop.
"""

import contextlib
import dataclasses
import itertools
import math
import operator
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.train._callbacks import Callback
from seqjax.train._checkpoints import Checkpoints, Position
from seqjax.train._divergence import blamed, refuse_not_finite
from seqjax.train._errors import DivergedError, StoppedError
from seqjax.train._processes import AHEAD, fetch, is_first_process, several_processes
from seqjax.train._progress import Progress
from seqjax.train._reporter import Reporter
from seqjax.train._run_folder import RunFolder
from seqjax.train._state import PyTree, TrainState, evaluation_params
from seqjax.train._step import TrainStep
from seqjax.train._totals import Totals, add, averages


class FitResult(NamedTuple):
    """What training one seed came to.

    Attributes:
      params: the best parameters by the monitored metric (the moving average where there is one).
      validation: their validation metrics.
      best_epoch: the epoch they are from, counted from 1.
      epochs_run: epochs trained.
      steps: updates done.
      wall_s: seconds of training and validation, over all resumptions.
      history: the row of every epoch, as in metrics.jsonl.
    """

    params: PyTree
    validation: dict[str, float]
    best_epoch: int
    epochs_run: int
    steps: int
    wall_s: float
    history: list[dict[str, Any]]


class Member(NamedTuple):
    """What `fit` takes for one seed, and members of a population need not share.

    Attributes:
      train: from `make_train_step`. Of a population that of the first member trains all, so they
        may differ only in the state that `init` makes.
      params: initial parameters.
      train_batches: epoch to its batches; of a population all have one shape.
      validate: parameters to named metrics.
      key: PRNG key.
      run: folder to report to; members of one folder need different seeds.
      seed: names checkpoints and rows.
      name: what the report calls it.
    """

    train: TrainStep
    params: PyTree
    train_batches: Callable[[int], Iterable[PyTree]]
    validate: Callable[[PyTree], Mapping[str, float]]
    key: jax.Array
    run: RunFolder
    seed: int
    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """The keyword arguments of `fit`, from `epochs` on, which members of a population share."""

    epochs: int
    monitor: str
    mode: Literal["max", "min", "last"] = "max"
    patience: int | None = None
    log_every: int = 50
    checkpoint_every: int | None = None
    checkpoint_seconds: float = 10.0
    probe: Callable[[PyTree], Mapping[str, float]] | None = None
    probe_every: int | None = None
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        """Refuses what cannot be used."""
        _comparison(self.mode)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise TypeError(
                    "seqjax.train.fit: `callbacks` must be instances of subclasses of "
                    f"seqjax.train.Callback, got {callback!r}."
                )
        if self.epochs < 1 or self.log_every < 1:
            raise ValueError(
                "seqjax.train.fit: `epochs` and `log_every` must be at least 1, got "
                f"{self.epochs} and {self.log_every}."
            )
        if self.probe_every is not None and (self.probe is None or self.probe_every < 1):
            raise ValueError(
                "seqjax.train.fit: `probe_every` must be at least 1 and needs a `probe`, got "
                f"{self.probe_every} and {self.probe}."
            )


def training(
    member: Member,
    options: Options,
    *,
    stopping: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    place: tuple[int, int] | None = (0, 1),
) -> Generator[Any, Any, FitResult]:
    """Trains one seed by asking for updates.

    Args:
      member: what is trained; of its step the state is used here, not the updates.
      options: how, see `fit`.
      stopping: whether training is to end after the step in progress.
      clock: seconds that count as its own.
      place: how many seeds of the run are done, and how many it has, for the progress bar; None for
        no bar.

    Yields:
      First the state to begin with, for which it is sent a function that returns the state as it is
      whenever that is called. Then lists of batches, for which it is sent the record of their
      updates, see `TrainStep.update` and `TrainStep.updates`.

    Returns:
      What `fit` returns.
    """
    train, params, train_batches, validate, key, run, seed, name = member
    better = _comparison(options.mode)
    state = train.init(params, key)
    best = _copy(evaluation_params(state))
    position = Position()
    checkpoints = Checkpoints(run.checkpoints(seed), run.config)
    with contextlib.closing(checkpoints):
        if not checkpoints.empty:
            trees, position = checkpoints.restore({"state": state, "best": best}, resume=True)
            state, best = trees["state"], trees["best"]
        run.rewind_metrics(seed, epoch=position.epoch, step=position.step, rows=position.rows)
        if position.finished:
            return _result(best, position)
        see = yield state
        del state  # its buffers are not its own any more

        epochs, score = options.epochs, f"val_{options.monitor}"
        progress = Progress(name, epochs, place if is_first_process() else None)
        reporter = Reporter(run, seed, epochs, position, name, clock, progress, options.callbacks)
        with reporter as report:

            def save(*, soon: bool = False) -> None:
                """Saves; if `soon`, only where the last checkpoint is not too new."""
                state = see()
                refuse_not_finite(state.params, position, name)
                report.stop_clock()
                if soon and not checkpoints.due(options.checkpoint_seconds):
                    return
                run.keep_metrics()
                checkpoints.save({"state": state, "best": best}, position)
                for callback in options.callbacks:
                    callback.on_checkpoint(run.checkpoints(seed), position.step)

            while not position.finished:
                epoch = position.epoch
                yield from _train_epoch(
                    train,
                    see,
                    train_batches(epoch),
                    position,
                    report,
                    options,
                    save=save,
                    stopping=stopping,
                )
                candidate = evaluation_params(see())
                found = validate(candidate)
                validation = _validated(found, options.monitor, f"{name}, epoch {epoch}")
                row = report.epoch({**_train_metrics(position.epoch_totals), **validation})
                position.history.append(row)
                chosen = position.best_epoch and position.history[position.best_epoch - 1]
                if not chosen or better(row[score], chosen[score]):
                    best, position.best_epoch = _copy(candidate), epoch
                waited = epoch - position.best_epoch
                impatient = options.patience is not None and waited >= options.patience
                ended = [callback.stops(row) for callback in options.callbacks]  # all are asked
                position.finished = epoch >= epochs or impatient or any(ended)
                position.epoch, position.step_in_epoch, position.epoch_totals = epoch + 1, 0, {}
                stop = stopping()
                save(soon=not (position.finished or stop))
                # No step follows the last save that could hear of what came while it was written.
                if stop or (position.finished and stopping()):
                    raise _stopped(name, position)
    return _result(best, position)


def _train_epoch(
    train: TrainStep,
    see: Callable[[], TrainState],
    batches: Iterable[PyTree],
    position: Position,
    report: Reporter,
    options: Options,
    *,
    save: Callable[..., None],
    stopping: Callable[[], bool],
) -> Generator[list[PyTree], dict[str, jax.Array], None]:
    log_every, checkpoint_every, probe = options.log_every, options.checkpoint_every, options.probe
    probe_every = options.probe_every or log_every
    owed = []  # records of steps the devices may still be at, with how many steps each is of

    def settle() -> None:
        step = position.step - sum(count for count, _ in owed)
        for count, records in fetch(owed):
            for record in _one_by_one(records, count):
                step += 1
                broken = record.pop("not_finite")
                if not (math.isfinite(record["loss"]) and math.isfinite(record["grad_norm"])):
                    raise DivergedError(
                        f"Training diverged at step {step} ({report.name}, epoch "
                        f"{position.epoch}): loss {record['loss']}, gradient norm "
                        f"{record['grad_norm']}, {blamed(see().params, broken)}. Lower the "
                        "learning rate or clip the gradient; the last checkpoint is sound."
                    )
                position.epoch_totals = add(position.epoch_totals, record)
                position.window_totals = add(position.window_totals, record)
        owed.clear()

    report.begin_epoch(operator.length_hint(batches, 0))
    done = position.step_in_epoch
    periods = [log_every, probe_every if probe is not None else 0, checkpoint_every or 0]
    rest = itertools.islice(batches, done, None)
    for group in _groups(
        rest, train.per_dispatch, position.step, done, [period for period in periods if period]
    ):
        report.hand_over((len(group), *_shapes(group[0])))
        owed.append((len(group), (yield group)))
        position.step += len(group)
        position.step_in_epoch += len(group)
        report.advance(sum(len(jax.tree.leaves(batch)[0]) for batch in group), steps=len(group))
        if position.step % log_every == 0:
            settle()
            report.step(_train_metrics(position.window_totals))
            position.window_totals = {}
        if probe is not None and position.step % probe_every == 0:
            settle()
            report.probe(probe(see().params))
        if checkpoint_every is not None and position.step % checkpoint_every == 0:
            settle()
            save(soon=True)
        if stopping():
            settle()
            save()
            raise _stopped(report.name, position)
        if len(owed) > AHEAD:
            jax.block_until_ready(owed[-1 - AHEAD])
    settle()
    if position.step_in_epoch == 0:
        raise ValueError(
            f"seqjax.train.fit: epoch {position.epoch} has no batches. Is the batch size larger "
            "than the data set?"
        )


def _groups(
    batches: Iterable[PyTree], size: int, step: int, step_in_epoch: int, periods: Sequence[int]
) -> Iterator[list[PyTree]]:
    """Yields batches to be handed over together: `size` of one shape, or one.

    An epoch is cut into blocks of `size`. A block of one shape in which nothing is due before its
    end is handed over whole, any other one by one, so that there are two programs a shape at most.
    Blocks are counted from the beginning of the epoch: wherever a run was stopped, it meets the
    same groups on resuming.
    """
    waiting: list[PyTree] = []
    for batch in batches:
        waiting.append(batch)
        step, step_in_epoch = step + 1, step_in_epoch + 1
        if step_in_epoch % size == 0 or any(step % period == 0 for period in periods):
            whole = len(waiting) == size and all(_shapes(b) == _shapes(batch) for b in waiting)
            yield from [waiting] if whole else ([each] for each in waiting)
            waiting = []
    yield from ([each] for each in waiting)


def _shapes(batch: PyTree) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(batch)]


def _one_by_one(records: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    if count == 1:
        yield records
    else:
        yield from ({name: values[i] for name, values in records.items()} for i in range(count))


def _stopped(name: str, position: Position) -> StoppedError:
    return StoppedError(
        f"Stopped by a signal after step {position.step} of {name}, which is saved; run the "
        "same command with --resume to continue."
    )


def _train_metrics(totals: Totals) -> dict[str, float]:
    return {
        name if name == "grad_norm" else f"train_{name}": value
        for name, value in averages(totals).items()
    }


def _validated(metrics: Mapping[str, Any], monitor: str, where: str) -> dict[str, float]:
    if monitor not in metrics:
        raise ValueError(
            f"seqjax.train.fit: `validate` must return the monitored metric {monitor!r}, got "
            f"{sorted(metrics)}."
        )
    numbers = {f"val_{name}": float(value) for name, value in metrics.items()}
    if not math.isfinite(numbers[f"val_{monitor}"]):
        raise DivergedError(
            f"Validation gave {monitor} {numbers[f'val_{monitor}']} ({where}). Lower the learning "
            "rate or clip the gradient."
        )
    return numbers


def _comparison(mode: str) -> Callable[[float, float], bool]:
    match mode:
        case "max":
            return operator.gt
        case "min":
            return operator.lt
        case "last":
            return lambda new, old: True
    raise ValueError(f"seqjax.train.fit: `mode` must be 'max', 'min' or 'last', got {mode!r}.")


def _copy(tree: PyTree) -> PyTree:
    # The next update frees the buffers of the state it is given.
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)


def _result(best: PyTree, position: Position) -> FitResult:
    row = position.history[position.best_epoch - 1]
    return FitResult(
        # What other processes hold a part of could not be read by itself.
        params=fetch(best) if several_processes() else best,
        validation={
            name.removeprefix("val_"): value
            for name, value in row.items()
            if name.startswith("val_")
        },
        best_epoch=position.best_epoch,
        epochs_run=len(position.history),
        steps=position.step,
        wall_s=position.wall_s,
        history=position.history,
    )
