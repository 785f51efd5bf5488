"""The layout of every cell's parameters, which checkpoints and conversions depend on."""

import jax
import jax.numpy as jnp
import pytest
from cell_table import BY_NAME, HIDDEN, IN, ROWS, every_cell
from jax.sharding import PartitionSpec

from seqjax.cells import GatedCell

# Of a cell with 4 hidden units and 3 input features; a change here breaks old checkpoints.
_GRU_BEFORE = {"input_kernel": (3, 12), "recurrent_kernel": (4, 12), "bias": (12,)}
_LSTM = {"input_kernel": (3, 16), "recurrent_kernel": (4, 16), "bias": (16,)}
_TWO_GATES = {"input_kernel": (3, 8), "recurrent_kernel": (4, 8), "bias": (8,)}
_ELMAN = {"input_kernel": (3, 4), "recurrent_kernel": (4, 4), "bias": (4,)}
LAYOUT = {
    "elman_tanh": _ELMAN,
    "elman_relu": _ELMAN,
    "elman_sigmoid": _ELMAN,
    "lstm": _LSTM,
    "lstm_learned": {**_LSTM, "initial_state.hidden": (4,), "initial_state.cell": (4,)},
    "lstm_chrono": _LSTM,
    "gru": {**_GRU_BEFORE, "recurrent_bias": (4,)},
    "gru_reset_before": _GRU_BEFORE,
    "min_gru": {"input_kernel": (3, 8), "bias": (8,)},
    "ind_rnn": {"input_kernel": (3, 4), "bias": (4,), "units.recurrent": (4,)},
    "peephole_lstm": {
        **_LSTM,
        "units.forget_peephole": (4,),
        "units.input_peephole": (4,),
        "units.output_peephole": (4,),
    },
    "slstm": {**_LSTM, "recurrent_kernel": (2, 2, 8)},
    "lru": {
        **dict.fromkeys(("decay_log", "phase_log", "scale_log"), (3,)),
        "input_kernel": (3, 6),
        "output_kernel": (6, 4),
        "skip_kernel": (3, 4),
    },
    "rg_lru": {
        "decay": (4,),
        "gate_kernel": (2, 2, 4),
        "gate_bias": (8,),
        "input_kernel": (3, 4),
    },
    "coupled_lstm": _GRU_BEFORE,
    "projected_lstm": {**_LSTM, "extra.projection": (4, 4)},
    "layer_norm_lstm": {
        "input_kernel": (3, 16),
        "recurrent_kernel": (4, 16),
        **dict.fromkeys(("units.gate_bias", "units.input_gain"), (16,)),
        **dict.fromkeys(("units.memory_gain", "units.memory_shift"), (4,)),
        "units.recurrent_gain": (16,),
    },
    "layer_norm_gru": {
        "input_kernel": (3, 12),
        "recurrent_kernel": (4, 12),
        **dict.fromkeys(("units.gate_bias", "units.input_gain"), (12,)),
        "units.recurrent_bias": (4,),
        "units.recurrent_gain": (12,),
    },
    "mgu": _TWO_GATES,
    "antisymmetric_rnn": _ELMAN,
    "antisymmetric_rnn_gated": {**_TWO_GATES, "recurrent_kernel": (4, 4)},
    "leaky_rnn": _ELMAN,
    "leaky_rnn_learned": {**_ELMAN, "units.leak": (4,)},
    "fast_grnn": {
        "input_kernel": (3, 4),
        "recurrent_kernel": (4, 4),
        "units.candidate_bias": (4,),
        "units.gate_bias": (4,),
        "units.nu": (1,),
        "units.zeta": (1,),
    },
    "lem": _LSTM,
    "co_rnn": {**_ELMAN, "recurrent_kernel": (4, 8)},
    "unicornn": {
        "input_kernel": (3, 4),
        "bias": (4,),
        "units.control": (4,),
        "units.recurrent": (4,),
    },
    "min_lstm": {"input_kernel": (3, 12), "bias": (12,)},
    "qrnn": {"input_kernel": (3, 3 * 12), "bias": (12,)},
    "s5": {
        **dict.fromkeys(("rate", "frequency", "log_step"), (3,)),
        "map_kernel": (3, 4),
        "input_kernel": (4, 6),
        "output_kernel": (6, 4),
        "skip": (4,),
    },
    "s6": {
        "decay_log": (4, 2),
        "input_kernel": (3, 4),
        "select_kernel": (4, 3),
        "step_kernel": (1, 4),
        "step_bias": (4,),
        "read_kernel": (4, 2),
        "skip": (4,),
    },
    "mamba2": {
        **dict.fromkeys(("decay_log", "step_bias", "skip"), (2,)),
        "input_kernel": (3, 4 + 3 + 2),
        "read_kernel": (3, 3),
    },
    "gla": {
        "decay_in_kernel": (3, 2),
        "decay_out_kernel": (2, 6),
        "decay_bias": (6,),
        "input_kernel": (3, 6 + 4),
        "read_kernel": (3, 6),
    },
    "mlstm": {
        **dict.fromkeys(("input_kernel", "read_kernel"), (3, 8)),
        **dict.fromkeys(("input_bias", "read_bias"), (8,)),
        "gate_kernel": (3, 4),
        "gate_bias": (4,),
    },
    "delta_net": {"input_kernel": (3, 4 + 4 + 1), "read_kernel": (3, 4)},
    "gated_delta_net": {
        "input_kernel": (3, 4 + 4 + 2),
        "read_kernel": (3, 4),
        "decay_kernel": (3, 2),
        "decay_log": (2,),
        "step_bias": (2,),
    },
    "sru": {
        "input_kernel": (3, 12),
        **dict.fromkeys(("units.forget_bias", "units.forget_weight"), (4,)),
        **dict.fromkeys(("units.reset_bias", "units.reset_weight"), (4,)),
        "extra.skip_kernel": (3, 4),
    },
    "para_gru": {
        "input_kernel": (3, 12),
        "bias": (12,),
        **dict.fromkeys(("units.candidate_weight", "units.reset_weight"), (4,)),
        "units.update_weight": (4,),
    },
    "para_lstm": {
        "input_kernel": (3, 12),
        "bias": (12,),
        **dict.fromkeys(("units.candidate_weight", "units.forget_peephole"), (4,)),
        **dict.fromkeys(("units.forget_weight", "units.output_peephole"), (4,)),
        "units.output_weight": (4,),
    },
    "fast_rnn": {**_ELMAN, "units.alpha": (1,), "units.beta": (1,)},
    "cfc": {
        "input_kernel": (3, 3),
        "recurrent_kernel": (4, 3),
        "bias": (3,),
        "output_kernel": (3, 16),
        "output_bias": (16,),
    },
    "ltc": {
        **dict.fromkeys(("capacity", "leak", "leak_potential"), (4,)),
        **dict.fromkeys(("weight", "slope", "centre", "reversal"), (4, 4)),
        **{f"input_{name}": (3, 4) for name in ("weight", "slope", "centre", "reversal")},
    },
    "user": {**_LSTM, "recurrent_bias": (8,)},
    "matrix": {**dict.fromkeys(("decay", "key", "query", "value"), (3, 4)), "order": (4,)},
    "plain": _ELMAN,
}


def layout(cell, dtype):
    def init(key):
        return cell.init(key, IN, dtype)

    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(init, jax.random.key(0)))
    return {
        ".".join(getattr(key, "name", None) or key.key for key in path): (leaf.shape, leaf.dtype)
        for path, leaf in leaves
    }


def test_every_row_has_a_layout():
    assert list(LAYOUT) == [row.name for row in ROWS]
    assert (IN, HIDDEN) == (3, 4)


@every_cell
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_layout(row, dtype):
    expected = {
        name: (shape, jnp.int32 if name == "order" else dtype)
        for name, shape in LAYOUT[row.name].items()
    }
    assert layout(row.cell, dtype) == expected


@every_cell
def test_init_is_float32_by_default(row):
    leaves = jax.tree.leaves(jax.eval_shape(lambda k: row.cell.init(k, IN), jax.random.key(0)))
    floating = {leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert floating == {jnp.dtype("float32")}


@every_cell
def test_partition(row):
    """Kernels may be split by their columns where the kind of the cell says which they are."""
    params = jax.eval_shape(lambda key: row.cell.init(key, IN), jax.random.key(0))
    partition = row.cell.partition(params)
    assert jax.tree.structure(partition) == jax.tree.structure(params)
    split = {name: {"input_kernel"} for name in ("slstm", "min_gru", "min_lstm")}
    dense = {"input_kernel", "recurrent_kernel"} if isinstance(row.cell, GatedCell) else set()
    expected = split.get(row.name, dense)
    for (path, spec), leaf in zip(
        jax.tree_util.tree_leaves_with_path(partition), jax.tree.leaves(params), strict=True
    ):
        columns = (getattr(path[-1], "name", None) or path[-1].key) in expected
        assert spec == (PartitionSpec(None, "hidden") if columns else PartitionSpec())
        assert len(spec) in (0, leaf.ndim)


def test_keras_parameter_counts():
    """128 units over 64 features: the 98,816 of the first Keras program, 10 features: its GRU."""

    def count(row, in_size):
        params = jax.eval_shape(lambda k: row.make(128).init(k, in_size), jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    assert count(BY_NAME["lstm"], 64) == 98_816
    # Keras holds a second bias for the two summed gates, which is redundant: 256 numbers.
    assert count(BY_NAME["gru"], 10) == 3 * 128 * (10 + 128 + 2) - 256
