"""Weights of other frameworks into our cells and modules, and back."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from seqjax._checks import check_kind
from seqjax.cells import Cell, GatedParams
from seqjax.cells._params import check_params
from seqjax.convert import _own as own
from seqjax.convert._blocks import Sizes, read_blocks, write_blocks
from seqjax.convert._checks import Place, as_array, check_array, framework_of, refuse_left_over
from seqjax.convert._conventions import KERNEL, Framework
from seqjax.convert._errors import ConvertError
from seqjax.convert._names import Entry, Flat, unflatten
from seqjax.convert._parts import Part, in_order, kind_of, named_parts, parts_of
from seqjax.convert._places import made_places, read_places

Names = Mapping[str, str | Sequence[str]] | str | Sequence[str] | None


def load(
    module: nnx.Module, weights: Any, framework: str, *, names: Names = None, strict: bool = True
) -> None:
    """Loads weights of another framework into a module.

    Every layer looks for the arrays that are exactly its own. Where two would do, `names` says
    which: by our layer, the name of theirs. Nothing in the module changes if anything is refused.

    Args:
      module: any module of `RNN`, `Bidirectional`, `Stack`, `Embedding` and `nnx.Linear`.
      weights: names and arrays, flat or nested, such as `torch_model.state_dict()`, Flax
        parameters or `{v.path: v for v in keras_model.weights}`; of Keras also the list that
        `get_weights` returns. Anything will do that NumPy takes for an array.
      framework: "torch", "keras", "linen", "nnx", or "seqjax" for what `dump` made so.
      names: their names by our paths: `{"recurrent": "encoder.lstm", "head": "fc"}`; a sequence
        names the layers of a stack, and a string alone the module itself. For a list of weights
        the order of `names` is that of the layers, where the module does not have one.
      strict: whether arrays that no layer reads are refused; those that stand beside arrays
        that are read always are.

    Raises:
      ConvertError: if a layer is missing or stands twice, a shape or a dtype does not fit, an array
        is left over, or the framework has no such layer.

    Example:
      A PyTorch `LSTM(3, 4)`, whose arrays are made up here:

      >>> import numpy as np, seqjax
      >>> from flax import nnx
      >>> from seqjax import convert
      >>> shapes = {"weight_ih": (16, 3), "weight_hh": (16, 4), "bias_ih": 16, "bias_hh": 16}
      >>> state_dict = {f"lstm.{name}_l0": np.ones(shape) for name, shape in shapes.items()}
      >>> layer = seqjax.nn.RNN(seqjax.lstm(4), 3, rngs=nnx.Rngs(0))
      >>> convert.load(layer, state_dict, "torch")
      >>> float(layer.weights.bias[0])
      2.0
    """
    if framework == "seqjax":
        own.load(module, weights)
        return
    rules, parts, given = _named(module, framework, names, weights)
    places, flat = read_places(parts, weights, rules, given)
    if strict:
        refuse_left_over(places, flat, rules)
    values = [_read(place, flat, rules) for place in places]
    for place, arrays in zip(places, values, strict=True):
        for name, array in arrays.items():
            param = getattr(place.part.params, name)
            # A copy: NumPy's memory may be a tensor's, which goes on being trained.
            param[...] = jnp.array(array, param.dtype)


def dump(module: nnx.Module, framework: str, *, names: Names = None, like: Any = None) -> Any:
    """Returns the weights of a module as another framework has them.

    Args:
      module: the module.
      framework: "torch" (a flat dictionary), "keras" (a list for `set_weights`), "linen" or "nnx"
        (nested dictionaries), or "seqjax" (a flat dictionary of all parameters by path).
      names: their names by our paths, as in `load`; by default the paths themselves.
      like: weights of their model, in any form that `load` takes. The result is then a copy of it
        with our values in their places: their own names, layouts and dtypes.

    Returns:
      NumPy arrays that share no memory with the module.

    Raises:
      ConvertError: if the framework has no such layer, a bias of ours that is not zero has no place
        there, or `like` does not fit.

    Example:
      >>> import seqjax
      >>> from flax import nnx
      >>> from seqjax import convert
      >>> layer = seqjax.nn.Bidirectional(seqjax.gru(4), 3, rngs=nnx.Rngs(0))
      >>> state_dict = convert.dump(layer, "torch", names="gru")
      >>> state_dict["gru.weight_ih_l0_reverse"].shape
      (12, 3)
    """
    if framework == "seqjax":
        return own.dump(module)
    rules, parts, given = _named(module, framework, names, like)
    return _dump(parts, rules, given, like)


def load_params(cell: Cell, weights: Any, framework: str, *, name: str = "") -> GatedParams:
    """Returns the parameters of a cell from the weights of one layer.

    Args:
      cell: `elman`, `lstm` or `gru`.
      weights: of a layer, as `load` takes them; for the layers of a stack and for both directions
        load a module. JAX arrays may be traced, so that gradients go through the conversion.
      framework: "torch", "keras", "linen" or "nnx".
      name: of the layer, where `weights` has several that would do.

    Returns:
      The parameters, in the dtype of the weights.

    Raises:
      ConvertError: as `load` does.

    Example:
      >>> import numpy as np, seqjax
      >>> from seqjax import convert
      >>> weights = [np.ones((3, 16)), np.ones((4, 16)), np.zeros(16)]
      >>> params = convert.load_params(seqjax.lstm(4), weights, "keras")
      >>> params.input_kernel.shape
      (3, 16)
    """
    rules = framework_of(framework)
    unsized = Part("", kind_of(cell), Sizes(0, cell.hidden_size), None)
    (place,), flat = read_places([unsized], weights, rules, {"": name} if name else {})
    if not name:
        refuse_left_over([place], flat, rules)
    kernel = next(array for array in place.layout.arrays if array.role == KERNEL)
    path = place.paths[kernel.name]
    shape = as_array(f"seqjax.convert: {rules.title} array {path!r}", flat[path].array).shape
    in_size = max(1, shape[-1 if kernel.transposed else 0]) if len(shape) == 2 else 1
    sized = unsized._replace(sizes=Sizes(in_size, cell.hidden_size))
    arrays = _read(place._replace(part=sized), flat, rules)
    bias = arrays.get("recurrent_bias")
    return GatedParams(
        *(jnp.array(arrays[name]) for name in ("input_kernel", "recurrent_kernel", "bias")),
        recurrent_bias=None if bias is None else jnp.array(bias),
        initial_state=None,
    )


def dump_params(cell: Cell, params: GatedParams, framework: str, *, like: Any = None) -> Any:
    """Returns the parameters of a cell as the weights of one layer of another framework.

    Args:
      cell: `elman`, `lstm` or `gru`.
      params: its parameters.
      framework: "torch", "keras", "linen" or "nnx".
      like: weights of their layer, whose names and layouts are followed.

    Returns:
      As `dump` does; the arrays stand there without the name of a layer.

    Raises:
      ConvertError: as `dump` does, and where the initial state is learned, which none of them has.
      ValueError: if the parameters are those of another cell or size.

    Example:
      >>> import jax, seqjax
      >>> from seqjax import convert
      >>> cell = seqjax.elman(4)
      >>> weights = convert.dump_params(cell, cell.init(jax.random.key(0), 3), "torch")
      >>> sorted(weights)
      ['bias_hh_l0', 'bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0']
    """
    rules = framework_of(framework)._replace(cell_name="")
    where, kind = "seqjax.convert.dump_params", kind_of(cell)
    check_kind(where, "params", params, GatedParams, "the GatedParams of the cell")
    check_params(where, cell, params, params.input_kernel.shape[0])
    if params.initial_state is not None:
        raise ConvertError(
            f"seqjax.convert: the initial state must not be learned, as it never is in "
            f"{rules.title}. Leave it out: params._replace(initial_state=None)."
        )
    sizes = Sizes(params.input_kernel.shape[0], cell.hidden_size)
    return _dump([Part("", kind, sizes, params)], rules, {}, like)


def _named(
    module: nnx.Module, framework: str, names: Names, weights: Any
) -> tuple[Framework, list[Part], dict[str, str]]:
    """Returns the rules of a framework, the layers of a module, and names of layers by path."""
    rules, parts = framework_of(framework), parts_of(module)
    given = named_parts(parts, names)
    if rules.in_order and not isinstance(weights, Mapping):
        return rules, in_order(module, parts, given), {}
    return rules, parts, given


def _read(place: Place, flat: Flat, rules: Framework) -> dict[str, Any]:
    """Returns our arrays of a layer."""
    arrays = {
        name: check_array(place, name, flat[path].array, rules)
        for name, path in place.paths.items()
    }
    blocks = read_blocks(place.layout, arrays)

    def refuse(what: str) -> ConvertError:
        return ConvertError(
            f"seqjax.convert: {place.part} must have a place for every number of "
            f"{rules.title}'s, got {what}. Make our layer with it."
        )

    return write_blocks(place.part.layout, place.part.kind, blocks, refuse)


def _dump(parts: list[Part], rules: Framework, given: dict[str, str], like: Any) -> Any:
    """Returns our arrays as theirs: in a copy of `like`, or under names that are made up."""
    if like is None:
        places, flat = made_places(parts, rules, given), {}
    else:
        places, flat = read_places(parts, like, rules, given)
    for place in places:
        layout = place.part.layout
        ours = {array.name: getattr(place.part.params, array.name)[...] for array in layout.arrays}

        def refuse(what: str, place: Place = place) -> ConvertError:
            return ConvertError(
                f"seqjax.convert: {place.part} must be zero where {rules.title}'s "
                f"{place.layout.layer} has nothing, got {what}. Their layer needs its biases, or "
                "has none there."
            )

        theirs = write_blocks(place.layout, place.part.kind, read_blocks(layout, ours), refuse)
        for name, array in theirs.items():
            path = place.paths[name]
            keys, dtype = (
                tuple(path.split("/")) if rules.nested else (_flat_name(path, rules),),
                None,
            )
            if like is not None:
                keys = flat[path].keys
                dtype = check_array(place, name, flat[path].array, rules).dtype
            flat[path] = Entry(keys, np.array(array, dtype, order="C"))
    if rules.in_order and not isinstance(like, Mapping):
        return [entry.array for entry in flat.values()]
    return unflatten(flat.values())


def _flat_name(path: str, rules: Framework) -> str:
    return path.replace("/", rules.separators[0])
