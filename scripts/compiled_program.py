"""Reads XLA's text of a compiled program: what it runs, and what its devices exchange."""

import re
from typing import NamedTuple

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


def check_exchange(text: str, expected: set[str]) -> None:
    """Refuses a program whose devices exchange anything in a loop, or outside another set."""
    names = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    inside, outside = set(), set()
    for part in re.split(r"\n(?=%|ENTRY )", text):
        found = re.findall(rf" ({names})(?:-start)?\(", part)
        (outside if part.startswith("ENTRY ") else inside).update(found)
    if inside or outside != expected:
        raise RuntimeError(f"devices exchange {sorted(inside)} in loops, {sorted(outside)} outside")


def count_kernels(text: str) -> Kernels:
    """Counts what a compiled program runs, in XLA's text of it."""
    parts = [part.splitlines() for part in re.split(r"\n(?=%|ENTRY )", text)]
    bodies = {match[2]: part for part in parts if (match := re.match(r"(ENTRY )?(%\S+)", part[0]))}
    entry = next(part for part in parts if part[0].startswith("ENTRY "))

    def trips(loop: str) -> int:
        if match := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop):
            return int(match[1])
        # A scan's condition compares its counter with one constant.
        bounds = [
            int(number)
            for line in bodies[called(loop, "condition")]
            for number in re.findall(r" constant\((\d+)\)", line)
        ]
        if len(bounds) != 1:
            raise RuntimeError(f"no number of passes was found for {loop.strip()[:80]}")
        return bounds[0]

    def total(part: list[str]) -> int:
        count = 0
        for line in part[1:]:
            operation = operation_of(line)
            if operation == "while":
                count += trips(line) * total(bodies[called(line, "body")])
            elif operation == "call":
                count += total(bodies[called(line, "to_apply")])
            else:
                count += is_kernel(operation, line)
        return count

    forward = backward = outside = 0
    for line in entry[1:]:
        operation = operation_of(line)
        if operation == "while":
            inside = trips(line) * total(bodies[called(line, "body")])
            if re.search(r'op_name="[^"]*transpose\(', line):
                backward += inside
            else:
                forward += inside
        else:
            outside += is_kernel(operation, line)
    return Kernels(forward, backward, outside)


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
