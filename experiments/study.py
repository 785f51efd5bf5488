"""Runs of any experiment that trains a model: their seeds, together or in turn, and run folders."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax

from experiments import command_line, report
from experiments.cells import check_time, keep_code
from experiments.functions import Functions
from experiments.memory import refuse_too_large
from experiments.metrics import PARTS, summary
from experiments.newton import TALLY
from experiments.settings import Settings
from experiments.summary import devices, versions, write_summary
from seqjax import train
from seqjax.train import _processes
from seqjax.train._files import expanded
from seqjax.train._mesh import check_mesh
from seqjax.train._population import can_train_together
from seqjax.train._processes import is_first_process, of_first_process
from seqjax.train._record import params_sha256

CHECKPOINT_SECONDS = 10.0  # what a kill can cost, and how often short epochs are saved


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
      test: what training a seed came to, to named metrics of the test part; called once a seed. A
        metric that validation does not score by the test's rule is scored by it here, under
        `validation_` and its name.
      headline: the metric, with `test_` before it of `test`, that is reported.
      monitor: the metric of `validate` that chooses the epoch.
      mode: whether it should be large or small, or "last" for no choice: the last epoch.
      floors: the baselines: what must be beaten, in units of the headline.
      whose: whose answer a metric is of, by its name without `test_`, if it is not the network's.
      curves: the metrics of validation that the figure shows; the headline by default.
      question: an example of what `--predict` takes, or None.
      test_share: how many times as large as the validation part the test part is.
      save: leaves in the run folder what predicting needs beside the parameters.
      draw: leaves figures, with a title, and other files of the finished run in its folder.
      alike: whether all training batches have one shape, whatever the seed and epoch, so that seeds
        can train together.
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
    whose: Mapping[str, str] = dataclasses.field(default_factory=dict)
    curves: Sequence[str] = ()
    question: str | None = None
    test_share: float = 1.0
    save: Callable[[Path], None] = lambda path: None
    draw: Callable[[train.RunFolder, str], None] = lambda folder, title: None
    alike: bool = False
    checkpoint_every: int = 200


Prepare = Callable[..., Study]
"""`prepare(config, notify, mesh=...)`: loads the data and makes the model of a configuration."""


class _Begun(NamedTuple):
    """A run that has been prepared, and what precedes its seeds in the report."""

    config: Any
    folder: train.RunFolder
    study: Study
    name: str
    callbacks: Sequence[train.Callback]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment that trains a model; `program.main` makes a program of it.

    Attributes:
      name: its package.
      config: its settings.
      prepare: loads the data and makes the model.
      asks: what `--predict` takes.
      answer: `answer(workdir, asked, **given)`, the lines that answer `--predict`; `given` are
        those settings of the command line that do not name a run.
      options: further arguments of `prepare`, text or None, and what they say.
    """

    name: str
    config: type[Settings]
    prepare: Prepare
    asks: str
    answer: Callable[..., Iterable[str]]
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def run(
        self,
        config: Any,
        *,
        workdir: str | Path | None = None,
        resume: bool = False,
        mesh: str = "auto",
        notify: Callable[[str], None] = print,
        callbacks: Sequence[train.Callback] = (),
        **options: str | None,
    ) -> Result:
        """Trains every seed, tests each once at its selected epoch, and leaves the run folder.

        Args:
          config: the settings; see `Settings.configure`.
          workdir: the run folder; `runs/<experiment>/<cell>-<hash of the settings>` by default.
          resume: whether a run in that folder is continued; without it one is refused.
          mesh: how devices share the work, as `--mesh` says it; see `seqjax.train.data_mesh`.
          notify: receives the lines of the report.
          callbacks: they hear every row and checkpoint of every seed; see `seqjax.train.Callback`.
          **options: those of the experiment.

        Returns:
          The run folder and its result.

        Raises:
          DataError: if the data is missing, damaged or too little.
          RunError: if the folder holds a run that may not be continued, or training diverges.
          ConfigError: if the mesh splits time and the cell cannot be split so.

        Example:
          >>> from experiments import classify
          >>> config = classify.configure(task="generated", seeds=1, epochs=1)
          >>> result = classify.run(config).result  # doctest: +SKIP
        """
        folder = workdir or command_line.default_workdir(self.name, config)
        runs = {"": (config, expanded(folder))}
        prepare = functools.partial(self.prepare, **options)
        return run_studies(
            self.name, runs, prepare, resume=resume, mesh=mesh, notify=notify, callbacks=callbacks
        )[0]


def run_studies(
    experiment: str,
    runs: Mapping[str, tuple[Any, Path]],
    prepare: Prepare,
    *,
    resume: bool,
    mesh: str,
    notify: Callable[[str], None],
    callbacks: Sequence[train.Callback] = (),
) -> list[Result]:
    """Trains several configurations; see `Experiment.run`, which trains one.

    All seeds of all of them train in one program where their batches are alike and `mesh` lets
    members share the devices (see `--mesh`), and else one after the other.

    Args:
      experiment: its name.
      runs: configurations and run folders by what precedes their seeds in the report. They may
        differ only in `experiments.optimizer.IN_STATE`.
      prepare: called for each that has not finished.
      resume: whether runs in that folder are continued; without it they are refused.
      mesh: how devices share the work, as `seqjax.train.data_mesh` takes it.
      notify: receives the lines of the report.
      callbacks: they hear every row and checkpoint.

    Returns:
      The result of each.

    Raises:
      DataError, RunError: as `Experiment.run`.
    """
    check_mesh(mesh)
    for config, _ in runs.values():
        check_time(config, mesh)
    if not is_first_process():
        notify = _silent
    results: dict[str, Result] = {}
    together: dict[str, _Begun] = {}
    for name, (config, path) in runs.items():
        run = _begin(config, path, prepare, resume, mesh, notify, name, callbacks)
        if isinstance(run, Result):
            results[name] = run
        elif run.study.alike and can_train_together(run.study.step, mesh):
            together[name] = run
        else:
            results[name] = _finish_seeds(experiment, run, _fit_in_turn(run), notify)
    number = sum(run.config.seeds for run in together.values())
    if number > 1:
        notify(f"{number} members train together.")
        fits = _fit_together([*together.values()])
    else:
        fits = itertools.chain.from_iterable(map(_fit_in_turn, together.values()))
    for name, run in together.items():
        results[name] = _finish_seeds(experiment, run, fits, notify)
    return [results[name] for name in runs]


def _seeds(config: Any) -> range:
    return range(config.seed, config.seed + config.seeds)


def _begin(
    config: Any,
    path: Path,
    prepare: Prepare,
    resume: bool,
    mesh: str,
    notify: Callable[[str], None],
    name: str,
    callbacks: Sequence[train.Callback],
) -> _Begun | Result:
    """Opens the folder and prepares what is to be trained, if it is."""
    settings = dataclasses.asdict(config)
    # A run that may not go on is refused before its data is read; a new one gets its folder after.
    folder = None
    started = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if of_first_process(started):
        folder = train.open_run(path, settings, resume=resume)
        if folder.finished:
            notify(f"The run in {path} has finished already.")
            return Result(path, folder.result())
    notify("Reading the data and fitting the baselines ...")  # a minute or more where it is large
    with _processes.together():
        # Devices that cannot share the batch, and sizes that cannot be, are refused before that.
        train.data_mesh(config.batch_size, mesh)
        for name in ("hidden_size", "lookback", "length"):  # numbers of an example, at least
            size = getattr(config, name, 1)
            what = f"--batch_size={config.batch_size} with --{name}={size}"
            refuse_too_large(what, 4 * config.batch_size * size)
        study = prepare(config, notify, mesh=mesh)
        refuse_too_large(
            f"--hidden_size={config.hidden_size}, with {study.functions.num_params:,} parameters,",
            report.state_bytes(config, study),
            on_devices=True,
        )
    folder = folder or train.open_run(path, settings, resume=resume)
    folder.claim_data(study.sha256)
    with _processes.together():
        keep_code(config.cell, folder.path)
        study.save(folder.path)
    notify(report.preview(config, study, path))
    return _Begun(config, folder, study, name, callbacks)


def _fit_options(run: _Begun) -> dict[str, Any]:
    return {
        "callbacks": run.callbacks,
        "epochs": run.config.epochs,
        "monitor": run.study.monitor,
        "mode": run.study.mode,
        "patience": run.config.patience,
        "checkpoint_every": run.study.checkpoint_every,
        "checkpoint_seconds": CHECKPOINT_SECONDS,
    }


def _member(run: _Begun, seed: int) -> train.Member:
    init_key, train_key = jax.random.split(jax.random.key(seed))
    return train.Member(
        train=run.study.step,
        params=run.study.functions.init(init_key),
        train_batches=lambda epoch: run.study.batches(seed, epoch),
        validate=run.study.validate,
        key=train_key,
        run=run.folder,
        seed=seed,
        name=f"{run.name} seed {seed}".strip(),
    )


def _fit_together(runs: Sequence[_Begun]) -> Iterator[train.FitResult]:
    members = [_member(run, seed) for run in runs for seed in _seeds(run.config)]
    return iter(train.fit_together(members, **_fit_options(runs[0])))


def _fit_in_turn(run: _Begun) -> Iterator[train.FitResult]:
    seeds = _seeds(run.config)
    for place, seed in enumerate(seeds):
        member = _member(run, seed)
        yield train.fit(
            *member[:4],
            key=member.key,
            run=member.run,
            seed=seed,
            place=(place, len(seeds)),
            **_fit_options(run),
        )


def _finish_seeds(
    experiment: str,
    run: _Begun,
    trained: Iterator[train.FitResult],
    notify: Callable[[str], None],
) -> Result:
    """Tests every seed when it has been trained, and leaves the result."""
    config, folder, study, *_ = run
    fits, tests = [], []
    for seed in _seeds(config):
        fits.append(next(trained))
        tests.append(study.test(fits[-1]))
        notify(report.seed_line(study, seed, fits[-1], tests[-1]))

    with _processes.together():
        result = _finish(experiment, config, study, folder, fits, tests)
    if line := TALLY.take():
        notify(line)
    notify(report.results_table(result, f"test_{study.headline}"))
    notify(report.closing_lines(experiment, config, study, folder.path))
    mean = result["metrics"][f"test_{study.headline}"]["mean"]
    notify(f"test_{study.headline} {mean:.6g} {folder.path / 'result.json'}")
    return Result(folder.path, result)


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
    title = f"{experiment}: {config.cell} on {study.dataset}"
    curves = study.curves or (study.headline,)
    train.plot_training(
        folder.metrics(),
        folder.figures / "training.png",
        metric=study.headline,
        curves={name: f"validation, {report.whose(study.whose, name)}" for name in curves},
        best_epochs=best_epochs,
        title=title,
    )
    study.draw(folder, title)
    validation = f"validation_{study.headline}"
    numbers: dict[str, list[float]] = {name: [test[name] for test in tests] for name in tests[0]}
    if validation not in numbers:
        numbers[validation] = [fit.validation[study.headline] for fit in fits]
    numbers["selected_epoch"] = [fit.best_epoch for fit in fits]
    numbers["seed_wall_s"] = [fit.wall_s for fit in fits]
    result = {
        "experiment": experiment,
        "cell": config.cell,
        "dataset": study.dataset,
        "num_params": study.functions.num_params,
        "seeds": config.seeds,
        "epochs_run": max(fit.epochs_run for fit in fits),
        "wall_s": round(sum(fit.wall_s for fit in fits), 1),
        "versions": versions(),
        "devices": devices(),
        "data_sha256": study.sha256,
        "params_sha256": params_sha256([fit.params for fit in fits]),
        "floors": dict(study.floors),
        "metrics": {name: summary(name, values) for name, values in numbers.items()},
        "whose": {
            name: report.whose(study.whose, name) for name in numbers if name.startswith(PARTS)
        },
    }
    write_summary(folder, result, command=config.command(experiment))
    folder.write_result(result)  # last: it says that all the rest is there
    return result


def _silent(line: str) -> None:
    """Receives lines that the first process prints."""
