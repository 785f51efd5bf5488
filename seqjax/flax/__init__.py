"""Flax users' door: a faster `nnx.RNN`, and cells that travel in both directions.

`RNN` replaces `flax.nnx.RNN`. `from seqjax.flax import nnx` replaces `from flax import nnx` in a
program that exists. `from_nnx`, `from_linen` and `from_step` make cells of other frameworks run in
`seqjax.unroll`; `to_nnx` and `to_linen` make our cells run in Flax's layers.
"""

from seqjax.flax import nnx as nnx
from seqjax.flax._linen import from_linen as from_linen
from seqjax.flax._linen import to_linen as to_linen
from seqjax.flax._nnx import from_nnx as from_nnx
from seqjax.flax._nnx import to_nnx as to_nnx
from seqjax.flax._rnn import RNN as RNN
from seqjax.flax._rnn import Bidirectional as Bidirectional
from seqjax.flax._steps import CarriedState as CarriedState
from seqjax.flax._steps import StepCell as StepCell
from seqjax.flax._steps import from_step as from_step
