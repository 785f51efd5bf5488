"""From what a model says at every step to answers: pure functions, no model among them."""

from seqjax.decode.beam import Hypotheses as Hypotheses
from seqjax.decode.beam import beam_search as beam_search
from seqjax.decode.beam import greedy_search as greedy_search
from seqjax.decode.beam import length_penalty as length_penalty
from seqjax.decode.ctc import ctc_beam_search as ctc_beam_search
from seqjax.decode.ctc import ctc_collapse as ctc_collapse
from seqjax.decode.ctc import ctc_greedy as ctc_greedy
from seqjax.decode.edit_distance import edit_distance as edit_distance
from seqjax.decode.generate import Generated as Generated
from seqjax.decode.generate import Step as Step
from seqjax.decode.generate import generate as generate
from seqjax.decode.generate import stream as stream
from seqjax.decode.sampling import Sampler as Sampler
from seqjax.decode.sampling import greedy as greedy
from seqjax.decode.sampling import keep_top_k as keep_top_k
from seqjax.decode.sampling import keep_top_p as keep_top_p
from seqjax.decode.sampling import make_bernoulli_sampler as make_bernoulli_sampler
from seqjax.decode.sampling import make_sampler as make_sampler
