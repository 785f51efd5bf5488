"""Flax NNX modules: batch first, thin, no recurrent mathematics.

Dropout is applied where a call is given a `key`, and only there: modules keep no random state, so
their parameters are all that training changes.
"""

from seqjax.nn._attention import ATTENTIONS as ATTENTIONS
from seqjax.nn._attention import Attention as Attention
from seqjax.nn._attention import Memory as Memory
from seqjax.nn._attention_decoder import AttentionDecoder as AttentionDecoder
from seqjax.nn._attention_decoder import DecoderState as DecoderState
from seqjax.nn._attention_decoder import in_sizes as in_sizes
from seqjax.nn._classifier import SequenceClassifier as SequenceClassifier
from seqjax.nn._crf import CRF as CRF
from seqjax.nn._crf import CRFScores as CRFScores
from seqjax.nn._crf import crf_decode as crf_decode
from seqjax.nn._crf import crf_log_partition as crf_log_partition
from seqjax.nn._crf import crf_marginals as crf_marginals
from seqjax.nn._crf import crf_nll as crf_nll
from seqjax.nn._crf import crf_score as crf_score
from seqjax.nn._cross_entropy import linear_cross_entropy as linear_cross_entropy
from seqjax.nn._cross_entropy import linear_logits as linear_logits
from seqjax.nn._embedding import Embedding as Embedding
from seqjax.nn._embedding import pair_buckets as pair_buckets
from seqjax.nn._masking import mask_features as mask_features
from seqjax.nn._masking import mask_steps as mask_steps
from seqjax.nn._pooling import Pooling as Pooling
from seqjax.nn._pooling import masked_last as masked_last
from seqjax.nn._pooling import masked_max as masked_max
from seqjax.nn._pooling import masked_mean as masked_mean
from seqjax.nn._pooling import masked_middle as masked_middle
from seqjax.nn._recurrent import RNN as RNN
from seqjax.nn._recurrent import Bidirectional as Bidirectional
from seqjax.nn._seq2seq import Seq2Seq as Seq2Seq
from seqjax.nn._stack import Stack as Stack
from seqjax.nn._streaming import make_step as make_step
from seqjax.nn._summary import num_params as num_params
from seqjax.nn._summary import summary as summary
from seqjax.nn._window import Window as Window
