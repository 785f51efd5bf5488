"""Recurrent networks in JAX: write a cell's mathematics once, get everything else."""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

from seqjax._unroll import step as step
from seqjax._unroll import unroll as unroll
from seqjax.cells import antisymmetric_rnn as antisymmetric_rnn
from seqjax.cells import cfc as cfc
from seqjax.cells import chrono as chrono
from seqjax.cells import co_rnn as co_rnn
from seqjax.cells import conv_lstm as conv_lstm
from seqjax.cells import coupled_lstm as coupled_lstm
from seqjax.cells import delta_net as delta_net
from seqjax.cells import elman as elman
from seqjax.cells import fast_grnn as fast_grnn
from seqjax.cells import fast_rnn as fast_rnn
from seqjax.cells import gated_cell as gated_cell
from seqjax.cells import gated_delta_net as gated_delta_net
from seqjax.cells import gla as gla
from seqjax.cells import gru as gru
from seqjax.cells import ind_rnn as ind_rnn
from seqjax.cells import layer_norm_gru as layer_norm_gru
from seqjax.cells import layer_norm_lstm as layer_norm_lstm
from seqjax.cells import leaky_rnn as leaky_rnn
from seqjax.cells import lem as lem
from seqjax.cells import linear_cell as linear_cell
from seqjax.cells import lru as lru
from seqjax.cells import lstm as lstm
from seqjax.cells import ltc as ltc
from seqjax.cells import make_cell as make_cell
from seqjax.cells import mamba2 as mamba2
from seqjax.cells import mgu as mgu
from seqjax.cells import min_gru as min_gru
from seqjax.cells import min_lstm as min_lstm
from seqjax.cells import mlstm as mlstm
from seqjax.cells import para_gru as para_gru
from seqjax.cells import para_lstm as para_lstm
from seqjax.cells import peephole_lstm as peephole_lstm
from seqjax.cells import projected_lstm as projected_lstm
from seqjax.cells import qrnn as qrnn
from seqjax.cells import register_cell as register_cell
from seqjax.cells import rg_lru as rg_lru
from seqjax.cells import s5 as s5
from seqjax.cells import s6 as s6
from seqjax.cells import slstm as slstm
from seqjax.cells import sru as sru
from seqjax.cells import unicornn as unicornn

if TYPE_CHECKING:  # at run time they are imported when they are first used: see `__getattr__`
    from seqjax import cells as cells
    from seqjax import convert as convert
    from seqjax import data as data
    from seqjax import decode as decode
    from seqjax import executors as executors
    from seqjax import flax as flax
    from seqjax import floors as floors
    from seqjax import gradflow as gradflow
    from seqjax import nn as nn
    from seqjax import online as online
    from seqjax import train as train
    from seqjax import transforms as transforms

__version__ = "0.1.0"

_PACKAGES = [each.name for each in pkgutil.iter_modules(__path__) if each.ispkg]


def __getattr__(name: str) -> ModuleType:
    """Imports a sub-package when it is first used, so that `import seqjax` loads only the core."""
    if name in _PACKAGES:
        return importlib.import_module(f"seqjax.{name}")
    raise AttributeError(f"module 'seqjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES})
