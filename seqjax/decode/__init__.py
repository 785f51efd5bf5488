"""From a model's next-token probabilities to sequences."""

from seqjax.decode.beam import Hypotheses as Hypotheses
from seqjax.decode.beam import beam_search as beam_search
from seqjax.decode.beam import greedy_search as greedy_search
from seqjax.decode.beam import length_penalty as length_penalty
