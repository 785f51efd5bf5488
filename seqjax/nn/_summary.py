"""`summary`: a table of a model's layers and parameter counts."""

import math

from flax import nnx

from seqjax.nn._module import check_module


def num_params(module: nnx.Module) -> int:
    """Returns the number of parameters: the total size of a module's `nnx.Param` variables.

    Args:
      module: any NNX module.

    Raises:
      TypeError: if `module` is not a module.

    Example:
      >>> from flax import nnx
      >>> num_params(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))
      16
    """
    check_module("seqjax.nn.num_params", module)
    return sum(math.prod(leaf.shape) for _, leaf in _params(module))


def summary(module: nnx.Module) -> str:
    """Returns a table of a module's direct children: name, kind and parameter count.

    Args:
      module: any NNX module. Children without parameters are omitted.

    Returns:
      The table as text; the last line is the total.

    Raises:
      TypeError: if `module` is not a module.

    Example:
      >>> import seqjax
      >>> from flax import nnx
      >>> rngs = nnx.Rngs(0)
      >>> model = seqjax.nn.SequenceClassifier(
      ...     seqjax.nn.Embedding(1000, 64, rngs=rngs),
      ...     seqjax.nn.RNN(seqjax.lstm(128), 64, rngs=rngs),
      ...     num_classes=10,
      ...     rngs=rngs,
      ... )
      >>> print(seqjax.nn.summary(model))
      layer      kind                  parameters
      ---------  --------------------  ----------
      embedding  Embedding(1000, 64)       64,000
      recurrent  RNN(lstm(128), 64)        98,816
      head       Linear(128, 10)            1,290
      ---------  --------------------  ----------
      total                               164,106
    """
    check_module("seqjax.nn.summary", module)
    rows = []
    for name, child in vars(module).items():
        if isinstance(child, nnx.Module) and (count := num_params(child)):
            rows.append((name, describe(child), f"{count:,}"))
    total = ("total", "", f"{num_params(module):,}")
    header = ("layer", "kind", "parameters")
    widths = [max(len(row[column]) for row in [header, *rows, total]) for column in range(3)]
    widths[1] = max(widths[1], 20)
    rule = tuple("-" * width for width in widths)

    def line(row):
        return f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}"

    return "\n".join(line(row) for row in [header, rule, *rows, rule, total])


def describe(module: nnx.Module) -> str:
    """Returns a short description of a module: its type and sizes."""
    name = type(module).__name__
    children = getattr(module, "layers", None)
    if children is not None:
        return f"{name}({', '.join(describe(child) for child in children)})"
    cell = getattr(module, "cell", None) or getattr(getattr(module, "forward", None), "cell", None)
    own = vars(module).get
    sizes = [own(f) for f in ("vocab_size", "in_size", "in_features")]
    outs = [] if cell else [own(f) for f in ("features", "out_features")]
    parts = ([cell] if cell else []) + [size for size in [*sizes, *outs] if size is not None]
    return f"{name}({', '.join(str(part) for part in parts)})"


def _params(module: nnx.Module):
    return nnx.to_flat_state(nnx.state(module, nnx.Param))
