"""How a cell is run through time."""

from seqjax._unroll.api import unroll as unroll
from seqjax._unroll.padding import reverse_padded as reverse_padded
from seqjax._unroll.step import step as step
