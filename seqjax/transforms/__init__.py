"""Transforms of cells: each takes a cell and returns a cell that every executor can run."""

from seqjax.transforms._kernels import orthogonal as orthogonal
from seqjax.transforms._kernels import spectral_bound as spectral_bound
from seqjax.transforms._kernels import weight_drop as weight_drop
from seqjax.transforms._kernels import weight_norm as weight_norm
from seqjax.transforms._layer_norm import layer_norm as layer_norm
from seqjax.transforms._recurrent_dropout import recurrent_dropout as recurrent_dropout
from seqjax.transforms._residual import residual as residual
from seqjax.transforms._variational_dropout import variational_dropout as variational_dropout
from seqjax.transforms._zoneout import zoneout as zoneout
