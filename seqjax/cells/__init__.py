"""What a recurrence is: one time step as pure functions, one cell a file."""

from seqjax.cells._base import Cell as Cell
from seqjax.cells._base import GatedCell as GatedCell
from seqjax.cells._base import GatedParams as GatedParams
from seqjax.cells._base import HiddenState as HiddenState
from seqjax.cells._base import LinearCell as LinearCell
from seqjax.cells._base import affine as affine
from seqjax.cells._base import gated_cell as gated_cell
from seqjax.cells._base import linear_cell as linear_cell
from seqjax.cells._elman import elman as elman
from seqjax.cells._gru import gru as gru
from seqjax.cells._initializers import chrono as chrono
from seqjax.cells._lstm import LSTMState as LSTMState
from seqjax.cells._lstm import lstm as lstm
from seqjax.cells._min_gru import MinGRUParams as MinGRUParams
from seqjax.cells._min_gru import min_gru as min_gru
from seqjax.cells._registry import CELLS as CELLS
from seqjax.cells._registry import OWN_CELLS as OWN_CELLS
from seqjax.cells._registry import make_cell as make_cell
from seqjax.cells._registry import register_cell as register_cell
