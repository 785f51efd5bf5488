"""From what a model foretells to sequences: pure functions of logits and of one step."""

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
