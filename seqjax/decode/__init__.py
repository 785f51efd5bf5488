"""From what a network says at every step to answers."""

from seqjax.decode.ctc import ctc_beam_search as ctc_beam_search
from seqjax.decode.ctc import ctc_collapse as ctc_collapse
from seqjax.decode.ctc import ctc_greedy as ctc_greedy
from seqjax.decode.edit_distance import edit_distance as edit_distance
