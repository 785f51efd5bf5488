"""Members of a population: one program trains them all, and each has a history of its own.

    update_all = vmap(update),  states (N, ...), batches (N, B, ...)

Members differ in parameters, keys, batches and in what the optimiser's state holds, which may be
their learning rate (`optax.inject_hyperparams`). Their loops are those of `fit`, so each validates,
stops early, is saved and is resumed by itself; one that has ended keeps its place, and what the
program still computes there is thrown away. No number of a member depends on another's, so a
population that was stopped and resumed ends with the same bits.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from seqjax.train._errors import StoppedError
from seqjax.train._loop import FitResult, Member, Options, training
from seqjax.train._mesh import shared_by_members
from seqjax.train._preemption import asked_to_stop
from seqjax.train._processes import several_processes
from seqjax.train._state import PyTree, TrainState
from seqjax.train._step import TrainStep


def can_train_together(train: TrainStep, shape: str = "auto") -> bool:
    """Returns whether members with this step are to train together, by `fit_together`.

    Kernels or time that are split over devices, and several processes, are for `fit` alone.

    Args:
      train: from `make_train_step`.
      shape: "members" for members that share the devices wherever they can; "batch", or sizes like
        "4x2", for one member after the other; "auto" for "members" on accelerators and "batch" on
        CPUs, whose cores one network fills.

    Returns:
      True or False.

    Raises:
      RunError: if `shape` is not one of these.
    """
    return shared_by_members(shape) and _can(train)


def _can(train: TrainStep) -> bool:
    return train.mesh.axis_names == ("batch",) and not several_processes()


def fit_together(members: Sequence[Member], **options: Any) -> list[FitResult]:
    """Trains members of the same shapes in one program, split over the devices.

    With D devices, gcd(N, D) groups of them have N / gcd(N, D) members each, and devices of a group
    share the batch where it can be divided.

    Args:
      members: two or more; those that were trained already are read back.
      **options: keyword arguments of `fit` that all members share, from `epochs` on. Seconds of
        the members add up to those of the program.

    Returns:
      The result of each member.

    Raises:
      ValueError: if states or batches of members have different shapes, or a step cannot be that of
        a population.
      DivergedError, RunError, StoppedError: as `fit`; the members' last checkpoints remain.
    """
    if not all(_can(member.train) for member in members):
        raise ValueError(
            "seqjax.train.fit_together: steps must have no axis hidden in their mesh, and there "
            "must be one process. Train members in turn with fit."
        )
    shared = Options(**options)
    results: dict[int, FitResult] = {}
    groups: dict[int, list[PyTree]] = {}
    stopped: list[StoppedError] = []
    clock = _SharedClock()
    with asked_to_stop() as stopping, contextlib.ExitStack() as stack:
        asking = []
        for member in members:
            # One update at a time: members that were resumed may stand at different steps.
            alone = member._replace(train=member.train._replace(per_dispatch=1))
            loop = training(
                alone, shared, stopping=stopping, clock=clock, place=None if asking else (0, 1)
            )
            asking.append(stack.enter_context(contextlib.closing(loop)))
        states = {}
        for number, loop in enumerate(asking):
            try:
                states[number] = next(loop)
            except StopIteration as end:
                results[number] = end.value

        def answer(number: int, what: Any) -> None:
            try:
                groups[number] = asking[number].send(what)
                return
            except StopIteration as end:
                results[number] = end.value
            except StoppedError as error:  # the others have still to save
                stopped.append(error)
            groups.pop(number, None)

        clock.share(len(states))
        if states:
            program = Program([member.train for member in members], states)
            for number in states:
                answer(number, program.see(number))
            while groups:
                clock.share(len(groups))
                records = program.update({number: batches[0] for number, batches in groups.items()})
                for number in list(groups):
                    answer(number, records[number])
    if stopped:
        raise stopped[0]
    for run in {member.run.path: member.run for member in members}.values():
        run.order_metrics()  # they wrote as they came, which a kill changes
    return [results[number] for number in range(len(members))]


class Program:
    """The states of all members, and the compiled update of them."""

    def __init__(self, steps: Sequence[TrainStep], states: Mapping[int, TrainState]):
        """Stacks the states.

        Args:
          steps: of all members; the first one's is compiled.
          states: by the number of the member; one that has ended has none, and its place is filled.
        """
        self._steps = steps
        filler = next(iter(states.values()))
        each = [states.get(number, filler) for number in range(len(steps))]
        if len({_description(state) for state in each}) > 1:
            raise ValueError(
                "seqjax.train.fit_together: the states of members must agree in structure, shapes "
                "and dtypes. Train members that differ there in turn with fit."
            )
        self._states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        self._update = None

    def see(self, number: int) -> Callable[[], TrainState]:
        """Returns a function that copies a member's state as it is when that is called."""

        def state() -> TrainState:
            mine = jax.tree.map(lambda leaf: leaf[number], self._states)
            mesh = self._steps[number].mesh
            return jax.device_put(mine, NamedSharding(mesh, PartitionSpec()))

        return state

    def update(self, batches: Mapping[int, PyTree]) -> Sequence[dict[str, jax.Array]]:
        """Updates every member that has a batch, and returns the records of all."""
        filler = next(iter(batches.values()))
        each = [batches.get(number, filler) for number in range(len(self._steps))]
        if len({_description(batch) for batch in each}) > 1:
            raise ValueError(
                "seqjax.train.fit_together: the batches of members must have one shape. Train "
                "members whose batches differ in turn with fit."
            )
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
        if self._update is None:
            size = len(jax.tree.leaves(filler)[0])
            self._split, self._update = self._compile(size)
        # Numbers of a member that has ended may be anything; it has no record.
        self._states, records = self._update(self._states, jax.device_put(stacked, self._split))
        return records

    def _compile(self, batch_size: int) -> tuple[NamedSharding, Callable[..., Any]]:
        mesh = _mesh(len(self._steps), batch_size)
        pure = cast(Any, self._steps[0].pure)
        member = NamedSharding(mesh, PartitionSpec("member"))
        split = NamedSharding(mesh, PartitionSpec("member", "batch"))
        everywhere = NamedSharding(mesh, PartitionSpec())
        layouts: Any = TrainState(*[cast(Any, member)] * 5, carry=split)
        self._states = jax.device_put(self._states._replace(carry=None), member)._replace(
            carry=jax.device_put(self._states.carry, split)
        )

        def update(states: TrainState, batches: PyTree) -> Any:
            # `unroll` sees here what the batch is split over.
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
                states, records = jax.vmap(pure, spmd_axis_name="member")(states, batches)
            number = len(self._steps)
            return states, [jax.tree.map(lambda leaf, n=n: leaf[n], records) for n in range(number)]

        return split, jax.jit(update, donate_argnums=0, out_shardings=(layouts, everywhere))


def _mesh(num_members: int, batch_size: int) -> Mesh:
    devices = jax.devices()
    groups = math.gcd(num_members, len(devices))
    most = len(devices) // groups
    parts = next(n for n in range(most, 0, -1) if batch_size % n == 0)
    grid = np.array(devices[: groups * parts]).reshape(groups, parts)
    return Mesh(grid, ("member", "batch"), axis_types=(AxisType.Auto,) * 2)


class _SharedClock:
    """Seconds that are divided among those who share the program."""

    def __init__(self) -> None:
        self._sum, self._last, self._sharers = 0.0, time.monotonic(), 1

    def __call__(self) -> float:
        """Returns the seconds that were each one's own so far."""
        now = time.monotonic()
        self._sum += (now - self._last) / self._sharers
        self._last = now
        return self._sum

    def share(self, sharers: int) -> None:
        """Says how many there are from now on."""
        self()
        self._sharers = max(sharers, 1)


def _description(tree: PyTree) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple((np.shape(leaf), str(leaf.dtype)) for leaf in leaves)
