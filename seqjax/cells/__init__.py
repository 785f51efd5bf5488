"""Cells: each defines one time step of a recurrence as pure functions."""

from seqjax.cells._antisymmetric_rnn import antisymmetric_rnn as antisymmetric_rnn
from seqjax.cells._associative import AssociativeCell as AssociativeCell
from seqjax.cells._cell import Cell as Cell
from seqjax.cells._cell import HiddenState as HiddenState
from seqjax.cells._cfc import cfc as cfc
from seqjax.cells._co_rnn import OscillatorState as OscillatorState
from seqjax.cells._co_rnn import co_rnn as co_rnn
from seqjax.cells._conv_lstm import conv_lstm as conv_lstm
from seqjax.cells._coupled_lstm import coupled_lstm as coupled_lstm
from seqjax.cells._delta_net import delta_net as delta_net
from seqjax.cells._elman import elman as elman
from seqjax.cells._fast_grnn import fast_grnn as fast_grnn
from seqjax.cells._fast_rnn import fast_rnn as fast_rnn
from seqjax.cells._gated import GatedCell as GatedCell
from seqjax.cells._gated import GatedParams as GatedParams
from seqjax.cells._gated import gated_cell as gated_cell
from seqjax.cells._gated_delta_net import gated_delta_net as gated_delta_net
from seqjax.cells._gla import gla as gla
from seqjax.cells._gru import gru as gru
from seqjax.cells._ind_rnn import ind_rnn as ind_rnn
from seqjax.cells._initializers import chrono as chrono
from seqjax.cells._layer_norm_gru import layer_norm_gru as layer_norm_gru
from seqjax.cells._layer_norm_lstm import layer_norm_lstm as layer_norm_lstm
from seqjax.cells._leaky_rnn import leaky_rnn as leaky_rnn
from seqjax.cells._lem import LEMState as LEMState
from seqjax.cells._lem import lem as lem
from seqjax.cells._linear import LinearCell as LinearCell
from seqjax.cells._linear import SegmentState as SegmentState
from seqjax.cells._linear import linear_cell as linear_cell
from seqjax.cells._lru import lru as lru
from seqjax.cells._lstm import LSTMState as LSTMState
from seqjax.cells._lstm import lstm as lstm
from seqjax.cells._ltc import ltc as ltc
from seqjax.cells._mamba2 import mamba2 as mamba2
from seqjax.cells._matrix import MatrixCell as MatrixCell
from seqjax.cells._matrix import Memory as Memory
from seqjax.cells._matrix import Writes as Writes
from seqjax.cells._mgu import mgu as mgu
from seqjax.cells._min_gru import MinGRUParams as MinGRUParams
from seqjax.cells._min_gru import min_gru as min_gru
from seqjax.cells._min_lstm import min_lstm as min_lstm
from seqjax.cells._mlstm import MLSTMState as MLSTMState
from seqjax.cells._mlstm import mlstm as mlstm
from seqjax.cells._operations import affine as affine
from seqjax.cells._para_gru import para_gru as para_gru
from seqjax.cells._para_lstm import para_lstm as para_lstm
from seqjax.cells._peephole_lstm import peephole_lstm as peephole_lstm
from seqjax.cells._projected_lstm import projected_lstm as projected_lstm
from seqjax.cells._qrnn import QRNNState as QRNNState
from seqjax.cells._qrnn import qrnn as qrnn
from seqjax.cells._registry import CELLS as CELLS
from seqjax.cells._registry import USER_CELLS as USER_CELLS
from seqjax.cells._registry import make_cell as make_cell
from seqjax.cells._registry import register_cell as register_cell
from seqjax.cells._rg_lru import rg_lru as rg_lru
from seqjax.cells._s5 import s5 as s5
from seqjax.cells._s6 import s6 as s6
from seqjax.cells._slstm import SLSTMState as SLSTMState
from seqjax.cells._slstm import slstm as slstm
from seqjax.cells._sru import SRUState as SRUState
from seqjax.cells._sru import sru as sru
from seqjax.cells._unicornn import unicornn as unicornn

CELLS |= {
    "rnn": elman,
    "lstm": lstm,
    "gru": gru,
    "min_gru": min_gru,
    "ind_rnn": ind_rnn,
    "peephole_lstm": peephole_lstm,
    "slstm": slstm,
    "lru": lru,
    "rg_lru": rg_lru,
    "coupled_lstm": coupled_lstm,
    "projected_lstm": projected_lstm,
    "layer_norm_lstm": layer_norm_lstm,
    "layer_norm_gru": layer_norm_gru,
    "mgu": mgu,
    "antisymmetric_rnn": antisymmetric_rnn,
    "leaky_rnn": leaky_rnn,
    "fast_grnn": fast_grnn,
    "lem": lem,
    "co_rnn": co_rnn,
    "unicornn": unicornn,
    "min_lstm": min_lstm,
    "qrnn": qrnn,
    "s5": s5,
    "s6": s6,
    "mamba2": mamba2,
    "gla": gla,
    "mlstm": mlstm,
    "delta_net": delta_net,
    "gated_delta_net": gated_delta_net,
    "sru": sru,
    "para_gru": para_gru,
    "para_lstm": para_lstm,
    "fast_rnn": fast_rnn,
    "cfc": cfc,
    "ltc": ltc,
}
