"""Reads XLA's text of a compiled program: what it runs, and what its devices exchange."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

EXCHANGES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
# What is no work of its own in a compiled program.
FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "")


class Kernels(NamedTuple):
    """How many kernels a program runs.

    Attributes:
      forward: in the loops of the forward pass.
      backward: in the loops of the backward pass.
      outside: in no loop.
    """

    forward: int
    backward: int
    outside: int


class Exchange(NamedTuple):
    """What devices exchange in a program, of one kind.

    Attributes:
      in_loops: how often in loops, every pass counted.
      outside: how often in no loop.
      mebibytes: what one device has of all of it when it is done.
    """

    in_loops: int = 0
    outside: int = 0
    mebibytes: float = 0.0


def check_exchange(text: str, expected: set[str]) -> None:
    """Refuses a program whose devices exchange anything in a loop, or outside another set."""
    found = count_exchanges(text)
    inside = {kind for kind, exchange in found.items() if exchange.in_loops}
    outside = {kind for kind, exchange in found.items() if exchange.outside}
    if inside or outside != expected:
        raise RuntimeError(f"devices exchange {sorted(inside)} in loops, {sorted(outside)} outside")


def count_exchanges(text: str) -> dict[str, Exchange]:
    """Counts what the devices of a compiled program exchange, by kind, in XLA's text of it."""
    program, found = _Program(text), {}

    def size(line: str) -> float:
        types = re.split(r" [a-z-]+\(", line.partition(" = ")[2])[0]
        arrays = re.findall(r"\b[a-z]+(\d+)\[([\d,]*)\]", types)
        return (
            sum(
                int(bits) / 8 * math.prod(int(n) for n in shape.split(",") if n)
                for bits, shape in arrays
            )
            / 2**20
        )

    for operation, line, times, in_loop in program.operations(program.entry):
        kind = operation.removesuffix("-start")
        if kind in EXCHANGES:
            old = found.get(kind, Exchange())
            found[kind] = Exchange(
                old.in_loops + times * in_loop,
                old.outside + times * (not in_loop),
                old.mebibytes + times * size(line),
            )
    return found


def count_kernels(text: str) -> Kernels:
    """Counts what a compiled program runs, in XLA's text of it."""
    program = _Program(text)
    forward = backward = outside = 0
    for line in program.entry[1:]:
        operation = operation_of(line)
        if operation == "while":
            inside = sum(
                times * is_kernel(operation, each)
                for operation, each, times, _ in program.operations([line, line])
            )
            if re.search(r'op_name="[^"]*transpose\(', line):
                backward += inside
            else:
                forward += inside
        else:
            outside += is_kernel(operation, line)
    return Kernels(forward, backward, outside)


class _Program:
    """The computations of a program, and how often their loops run."""

    def __init__(self, text: str):
        parts = [part.splitlines() for part in re.split(r"\n(?=%|ENTRY )", text)]
        self.bodies = {
            match[2]: part for part in parts if (match := re.match(r"(ENTRY )?(%\S+)", part[0]))
        }
        self.entry = next(part for part in parts if part[0].startswith("ENTRY "))

    def operations(
        self, part: list[str], times: int = 1, in_loop: bool = False
    ) -> Iterator[tuple[str, str, int, bool]]:
        """Yields operation, line, how often it runs, and whether in a loop; after a heading."""
        for line in part[1:]:
            operation = operation_of(line)
            if operation == "while":
                body = self.bodies[called(line, "body")]
                yield from self.operations(body, times * self._trips(line), True)
            elif operation == "call":
                body = self.bodies[called(line, "to_apply")]
                yield from self.operations(body, times, in_loop)
            else:
                yield operation, line, times, in_loop

    def _trips(self, loop: str) -> int:
        if match := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop):
            return int(match[1])
        # A scan's condition compares its counter with one constant.
        bounds = [
            int(number)
            for line in self.bodies[called(loop, "condition")]
            for number in re.findall(r" constant\((\d+)\)", line)
        ]
        if len(bounds) != 1:
            raise RuntimeError(f"no number of passes was found for {loop.strip()[:80]}")
        return bounds[0]


def operation_of(line: str) -> str:
    """Returns the operation of an instruction; "" if the line holds none."""
    # Its type comes first: an array, or a tuple of them in parentheses.
    match = re.match(r"\s+(?:ROOT )?%\S+ = (?:\(.*?\)|\S+) ([a-z][a-z0-9-]*)\(", line)
    return match[1] if match else ""


def is_kernel(operation: str, line: str) -> bool:
    """Returns whether an instruction is work of its own."""
    if operation in FREE or operation.endswith("-done"):
        return False
    return 'custom_call_target="AllocateBuffer"' not in line


def called(line: str, role: str) -> str:
    """Returns the name of the computation that an instruction calls as its `role`."""
    match = re.search(rf"\b{role}=(%[^\s,)]+)", line)
    if match is None:
        raise RuntimeError(f"no {role} in {line.strip()[:80]}")
    return match[1]
