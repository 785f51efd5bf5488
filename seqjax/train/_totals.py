"""Running totals of the metrics of many steps, on the host in double precision.

Totals are a plain dict, so that they can be saved with a checkpoint: a resumed run then reports the
same averages as one that was never stopped.
"""

from collections.abc import Mapping

Totals = dict[str, float]


def add(totals: Totals, record: Mapping[str, float]) -> Totals:
    """Adds the record of one step, as numbers, to the totals so far; `{}` to begin."""
    # The loss is the batch's mean; by its weight it counts as much as its examples.
    step = {**record, "loss": record["loss"] * record["weight"], "steps": 1.0}
    return {name: totals.get(name, 0.0) + float(value) for name, value in step.items()}


def averages(totals: Totals) -> dict[str, float]:
    """Averages totals over the examples, the gradient's norm over the steps; NaN where none count.

    Example:
      >>> averages(add({}, {"loss": 0.5, "accuracy": 3.0, "weight": 4.0, "grad_norm": 2.0}))
      {'loss': 0.5, 'accuracy': 0.75, 'grad_norm': 2.0}
    """
    means = {}
    # For people: the loss first, what they count next, the gradient last.
    for name in sorted(totals, key=lambda name: (name != "loss", name == "grad_norm", name)):
        if name in ("weight", "steps"):
            continue
        count = totals["steps" if name == "grad_norm" else "weight"]
        means[name] = totals[name] / count if count else float("nan")
    return means
