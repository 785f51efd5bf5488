"""How a cell is run through time."""

from seqjax.unroll.api import unroll as unroll
from seqjax.unroll.padding import reverse_padded as reverse_padded
from seqjax.unroll.step import step as step
