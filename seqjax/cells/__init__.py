"""Cells: each defines one time step of a recurrence as pure functions."""

from seqjax.cells._cell import Cell as Cell
from seqjax.cells._cell import HiddenState as HiddenState
from seqjax.cells._elman import elman as elman
from seqjax.cells._gated import GatedCell as GatedCell
from seqjax.cells._gated import GatedParams as GatedParams
from seqjax.cells._gated import gated_cell as gated_cell
from seqjax.cells._gru import gru as gru
from seqjax.cells._ind_rnn import ind_rnn as ind_rnn
from seqjax.cells._initializers import chrono as chrono
from seqjax.cells._linear import LinearCell as LinearCell
from seqjax.cells._linear import SegmentState as SegmentState
from seqjax.cells._linear import linear_cell as linear_cell
from seqjax.cells._lru import lru as lru
from seqjax.cells._lstm import LSTMState as LSTMState
from seqjax.cells._lstm import lstm as lstm
from seqjax.cells._min_gru import MinGRUParams as MinGRUParams
from seqjax.cells._min_gru import min_gru as min_gru
from seqjax.cells._operations import affine as affine
from seqjax.cells._peephole_lstm import peephole_lstm as peephole_lstm
from seqjax.cells._registry import CELLS as CELLS
from seqjax.cells._registry import USER_CELLS as USER_CELLS
from seqjax.cells._registry import make_cell as make_cell
from seqjax.cells._registry import register_cell as register_cell
from seqjax.cells._rg_lru import rg_lru as rg_lru
from seqjax.cells._slstm import SLSTMState as SLSTMState
from seqjax.cells._slstm import slstm as slstm
