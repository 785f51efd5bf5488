"""From what a model says at every step to answers: pure functions, no model among them."""

from seqjax.decode._beam import Hypotheses as Hypotheses
from seqjax.decode._beam import beam_search as beam_search
from seqjax.decode._beam import greedy_search as greedy_search
from seqjax.decode._ctc import ctc_beam_search as ctc_beam_search
from seqjax.decode._ctc import ctc_collapse as ctc_collapse
from seqjax.decode._ctc import ctc_greedy as ctc_greedy
from seqjax.decode._edit_distance import edit_distance as edit_distance
from seqjax.decode._generate import Generated as Generated
from seqjax.decode._generate import generate as generate
from seqjax.decode._generate import stream as stream
from seqjax.decode._sampling import greedy as greedy
from seqjax.decode._sampling import keep_top_k as keep_top_k
from seqjax.decode._sampling import keep_top_p as keep_top_p
from seqjax.decode._sampling import make_bernoulli_sampler as make_bernoulli_sampler
from seqjax.decode._sampling import make_sampler as make_sampler
