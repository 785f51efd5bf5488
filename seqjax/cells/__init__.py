"""What a recurrence is: one time step as pure functions, one cell a file."""

from seqjax.cells.base import Cell as Cell
from seqjax.cells.base import GatedCell as GatedCell
from seqjax.cells.base import GatedParams as GatedParams
from seqjax.cells.base import HiddenState as HiddenState
from seqjax.cells.base import LinearCell as LinearCell
from seqjax.cells.base import affine as affine
from seqjax.cells.base import gated_cell as gated_cell
from seqjax.cells.base import linear_cell as linear_cell
from seqjax.cells.elman import elman as elman
from seqjax.cells.gru import gru as gru
from seqjax.cells.initializers import chrono as chrono
from seqjax.cells.lstm import LSTMState as LSTMState
from seqjax.cells.lstm import lstm as lstm
from seqjax.cells.min_gru import MinGRUParams as MinGRUParams
from seqjax.cells.min_gru import min_gru as min_gru
from seqjax.cells.registry import CELLS as CELLS
from seqjax.cells.registry import OWN_CELLS as OWN_CELLS
from seqjax.cells.registry import make_cell as make_cell
from seqjax.cells.registry import register_cell as register_cell
