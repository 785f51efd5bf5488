"""One run of any experiment that trains a model: every seed in turn, and the run folder."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from experiments import command_line, report
from experiments.cells import keep_code
from experiments.functions import Functions
from seqjax import train


class Result(NamedTuple):
    """What a run came to.

    Attributes:
      path: the run folder.
      result: the content of `result.json`.
    """

    path: Path
    result: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What is trained, on what, and how it is judged.

    Attributes:
      dataset: name of the data in the result.
      sha256: hash of the data.
      about: the data in a line, for the preview.
      functions: the model.
      step: the training step.
      batches: `batches(seed, epoch)`, the training batches of an epoch.
      validate: parameters to named metrics, which choose the epoch.
      test: what training a seed came to, to named metrics of the test part; called once a seed.
      headline: the metric, of validation and with `test_` before it of `test`, that is reported.
      monitor: the metric of `validate` that chooses the epoch.
      mode: whether it should be large or small, or "last" for no choice: the last epoch.
      floors: what must be beaten, in units of the headline.
      command: repeats the run.
      save: leaves in the run folder what predicting needs beside the parameters.
      draw: leaves figures and other files of the finished run in its folder.
      lazy: names of the tables that are updated by the row.
      checkpoint_every: steps between two checkpoints inside an epoch.
    """

    dataset: str
    sha256: str
    about: str
    functions: Functions
    step: train.TrainStep
    batches: Callable[[int, int], Iterable[Any]]
    validate: Callable[[Any], Mapping[str, float]]
    test: Callable[[train.FitResult], Mapping[str, float]]
    headline: str
    monitor: str
    mode: Literal["max", "min", "last"]
    floors: Mapping[str, float]
    command: str
    save: Callable[[Path], None] = lambda path: None
    draw: Callable[[train.RunFolder], None] = lambda folder: None
    lazy: Iterable[str] = ()
    checkpoint_every: int = 200


def run_study(
    experiment: str,
    config: Any,
    prepare: Callable[[Callable[[str], None]], Study],
    *,
    workdir: str | Path | None,
    resume: bool,
    notify: Callable[[str], None],
) -> Result:
    """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

    Args:
      experiment: its name.
      config: the settings; of them `cell`, `seed`, `seeds`, `epochs`, `patience` and `ema_decay`
        are read here.
      prepare: loads the data and makes the model; it receives `notify`.
      workdir: the run folder; `runs/<experiment>/<cell>-<hash of the settings>` by default.
      resume: whether a run begun there is continued; without it one is refused.
      notify: receives the lines of the report.

    Returns:
      The run folder and its result.

    Raises:
      DataError: if the data is missing or damaged.
      RunError: if the folder holds a run that may not be continued, or training diverges.
    """
    settings = dataclasses.asdict(config)
    path = Path(workdir or command_line.default_workdir(experiment, config))
    if not train.is_first_process():
        notify = _silent
    # A run that may not go on is refused before its data is read; a new one gets its folder after.
    folder = None
    begun = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if train.of_first_process(begun):
        folder = train.open_run(path, settings, resume=resume)
        if folder.finished:
            notify(f"The run in {path} has finished already.")
            return Result(path, folder.result())
    with train.together():
        study = prepare(notify)
    folder = folder or train.open_run(path, settings, resume=resume)
    folder.claim_data(study.sha256)
    with train.together():
        keep_code(config.cell, folder.path)
        study.save(folder.path)
    notify(report.preview(config, study, path))

    fits, tests = [], []
    for seed in range(config.seed, config.seed + config.seeds):
        init_key, train_key = jax.random.split(jax.random.key(seed))
        fit = train.fit(
            study.step,
            study.functions.init(init_key),
            lambda epoch, seed=seed: study.batches(seed, epoch),
            study.validate,
            key=train_key,
            run=folder,
            seed=seed,
            epochs=config.epochs,
            monitor=study.monitor,
            mode=study.mode,
            patience=config.patience,
            checkpoint_every=study.checkpoint_every,
        )
        fits.append(fit)
        tests.append(study.test(fit))
        notify(report.seed_line(study, seed, fit, tests[-1]))

    with train.together():
        result = _finish(experiment, config, study, folder, fits, tests)
    notify(report.results_table(result, f"test_{study.headline}"))
    mean = result["metrics"][f"test_{study.headline}"]["mean"]
    notify(f"test_{study.headline} {mean:.6g} {folder.path / 'result.json'}")
    return Result(path, result)


def _finish(
    experiment: str,
    config: Any,
    study: Study,
    folder: train.RunFolder,
    fits: list[train.FitResult],
    tests: list[Mapping[str, float]],
) -> dict[str, Any]:
    """Leaves figures, result and summary of a run that is done."""
    best_epochs = {config.seed + i: fit.best_epoch for i, fit in enumerate(fits)}
    train.plot_training(
        folder.metrics(),
        folder.figures / "training.png",
        metric=study.headline,
        best_epochs=best_epochs,
    )
    study.draw(folder)
    result = {
        "experiment": experiment,
        "cell": config.cell,
        "dataset": study.dataset,
        "num_params": study.functions.num_params,
        "seeds": config.seeds,
        "epochs_run": max(fit.epochs_run for fit in fits),
        "wall_s": round(sum(fit.wall_s for fit in fits), 1),
        "versions": train.versions(),
        "devices": train.devices(),
        "data_sha256": study.sha256,
        "params_sha256": train.params_sha256([fit.params for fit in fits]),
        "floors": dict(study.floors),
        "metrics": {
            **{name: train.summarise([test[name] for test in tests]) for name in tests[0]},
            f"validation_{study.headline}": train.summarise(
                [fit.validation[study.headline] for fit in fits]
            ),
            "selected_epoch": train.summarise([fit.best_epoch for fit in fits]),
            "seed_wall_s": train.summarise([fit.wall_s for fit in fits]),
        },
    }
    folder.write_result(result)
    train.write_summary(folder, command=study.command)
    return result


def _silent(line: str) -> None:
    """Receives lines that the first process prints."""
