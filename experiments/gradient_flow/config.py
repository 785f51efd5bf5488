"""Every setting of the gradient-flow experiment."""

import dataclasses
from typing import Any

import jax

import seqjax
from experiments import command_line
from experiments.cells import load, not_loaded
from experiments.command_line import ConfigError, setting
from experiments.gradient_flow import grid
from seqjax.cells import USER_CELLS
from seqjax.online import METHODS, Method

TASKS = ("adding", "copying")


@dataclasses.dataclass(frozen=True)
class Config:
    """Every setting of a run; lists are written with commas."""

    cells: str = setting(
        "rnn,lstm,gru,min_gru",
        f"cells, of {', '.join(grid.CELLS)}; or your own, module:function",
        load=load,
    )
    inits: str = setting(
        "radius_0.5,radius_0.9,radius_1,radius_1.5,identity,forget_0,forget_1,default,chrono",
        f"initialisations to measure; each cell takes its own: {grid.KNOWN}",
    )
    lengths: str = setting("50,200", "lengths of the sequences gradients are measured on")
    hidden_size: int = setting(32, "hidden units", minimum=2)
    batch_size: int = setting(32, "sequences measured for each seed", minimum=1)
    jacobian_examples: int = setting(
        1, "sequences of them whose Jacobians are multiplied", minimum=1
    )
    online: str = setting(
        "",
        "online methods whose gradients are compared with the full one, at the shortest length: "
        f"none, or of {', '.join(METHODS)}",
    )
    family_length: int = setting(
        60, "steps on which every cell of the library is measured, at 16 units; 0: none", minimum=0
    )
    seeds: int = setting(5, "number of seeds", minimum=1, below=2**31)
    seed: int = setting(0, "the first seed", minimum=0, below=2**31)
    tasks: str = setting("adding,copying", f"tasks to train, of {', '.join(TASKS)}")
    train_inits: str = setting("radius_1,identity,forget_1,default", "initialisations to train")
    steps: int = setting(1500, "updates of a network", minimum=1)
    eval_every: int = setting(50, "updates between two tests; divides --steps", minimum=1)
    adding_length: int = setting(60, "steps of the adding problem", minimum=2)
    copying_delay: int = setting(20, "blank steps of the copying problem", minimum=1)
    train_batch_size: int = setting(32, "sequences in a training batch", minimum=1)
    test_size: int = setting(512, "sequences of a test", minimum=1)
    learning_rate: float = setting(3e-3, "of Adam", minimum=0)
    clip_norm: float = setting(1.0, "the gradient's global norm is clipped to this", minimum=1e-9)
    window: int = setting(12, "steps that the feed-forward network sees", minimum=1)
    threshold: float = setting(
        0.25, "a network has learnt a task when its test loss is below this part of chance"
    )
    clip_radius: float = setting(1.5, "spectral radius of the network that shows clipping")
    clip_steps: int = setting(500, "its updates, with and without clipping", minimum=1)
    clip_learning_rate: float = setting(0.1, "of plain gradient descent, for it", minimum=0)

    def __post_init__(self):
        """Refuses settings that cannot be used."""
        command_line.check_settings(self)
        _known("cells", self.cells, (*grid.CELLS, *USER_CELLS))
        if self.tasks:
            _known("tasks", self.tasks, TASKS)
        if self.online:
            _known("online", self.online, tuple(METHODS))
        for name in ("inits", "train_inits"):
            for init in _names(getattr(self, name)):
                if not any(grid.applies(cell, init) for cell in grid.CELLS):
                    raise ConfigError(f"--{name} must be among {grid.KNOWN}; got {init!r}.")
        for cell in _names(self.cells):
            if cell in USER_CELLS:
                _has_hidden_state(cell, self.hidden_size)
            if not any(grid.applies(cell, init) for init in _names(self.inits)):
                raise ConfigError(
                    f"--inits must name one for each cell ({grid.KNOWN}); {cell} has none."
                )
        if self.family_length == 1:
            raise ConfigError("--family_length must be 0 or at least 2, got 1.")
        if not _names(self.lengths) or any(
            not part.isdecimal() or len(part) > 9 or int(part) < 4 for part in _names(self.lengths)
        ):
            raise ConfigError(f"--lengths must be whole numbers from 4 on, got {self.lengths!r}.")
        for name in ("steps", "clip_steps"):
            if getattr(self, name) % self.eval_every:
                raise ConfigError(
                    f"--eval_every must divide --{name}={getattr(self, name)}, got "
                    f"{self.eval_every}."
                )
        if self.jacobian_examples > self.batch_size:
            raise ConfigError(
                f"--jacobian_examples must be at most --batch_size={self.batch_size}, got "
                f"{self.jacobian_examples}."
            )
        if self.window > self.adding_length // 2:
            raise ConfigError(
                f"--window must be at most half of --adding_length={self.adding_length}, or it "
                f"sees the task whole; got {self.window}."
            )
        for name in ("threshold", "clip_radius"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"--{name} must be above 0, got {getattr(self, name)}.")

    @property
    def points(self) -> list[grid.Point]:
        """The cells and initialisations to measure."""
        return grid.make_grid(_names(self.cells), _names(self.inits))

    @property
    def train_points(self) -> list[grid.Point]:
        """The cells and initialisations to train."""
        return grid.make_grid(_names(self.cells), _names(self.train_inits))

    @property
    def measured_lengths(self) -> list[int]:
        """The lengths, shortest first."""
        return sorted({int(part) for part in _names(self.lengths)})

    @property
    def trained_tasks(self) -> list[str]:
        """The tasks, in the order given."""
        return _names(self.tasks)

    @property
    def online_methods(self) -> dict[str, Method]:
        """The online methods by name."""
        return {name: METHODS[name]() for name in _names(self.online)}

    @property
    def all_seeds(self) -> list[int]:
        """The seeds."""
        return list(range(self.seed, self.seed + self.seeds))


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _known(name: str, text: str, known: tuple[str, ...]) -> None:
    wrong = [part for part in _names(text) if part not in known]
    if wrong or not _names(text):
        among = ", ".join(known)
        raise ConfigError(f"--{name} must be among {among}; got {text!r}.{not_loaded(text)}")


def _has_hidden_state(name: str, hidden_size: int) -> None:
    """Refuses a cell of the user's own whose state cannot be measured beside the others."""

    def initial_state() -> Any:
        cell = seqjax.make_cell(name, hidden_size)
        return cell.initial_state(cell.init(jax.random.key(0), 2), (), float)

    state = jax.eval_shape(initial_state)
    if getattr(state, "_fields", ("",))[0] != "hidden":
        raise ConfigError(
            f"--cells: the state of {name} must be a NamedTuple whose first field is hidden, got "
            f"{type(state).__name__} {getattr(state, '_fields', '')}; seqjax.cells.HiddenState is."
        )
