"""Flax NNX modules: thin, batch-first layers over `seqjax.unroll`.

A call applies dropout only if you pass a `key`. Modules keep no random state, so training changes
only their parameters. As elsewhere in Flax, `model.eval()` turns dropout off, whatever a call is
given. After `model.train()`, a call with dropout but without a key is refused.
"""

from seqjax.nn._activation_losses import activation_loss as activation_loss
from seqjax.nn._activation_losses import temporal_activation_loss as temporal_activation_loss
from seqjax.nn._attention import Attention as Attention
from seqjax.nn._attention_decoder import AttentionDecoder as AttentionDecoder
from seqjax.nn._classifier import SequenceClassifier as SequenceClassifier
from seqjax.nn._crf import CRF as CRF
from seqjax.nn._embedding import Embedding as Embedding
from seqjax.nn._mamba_block import MambaBlock as MambaBlock
from seqjax.nn._masking import mask_features as mask_features
from seqjax.nn._masking import mask_steps as mask_steps
from seqjax.nn._named import GRU as GRU
from seqjax.nn._named import LSTM as LSTM
from seqjax.nn._named import Elman as Elman
from seqjax.nn._pooling import Pooling as Pooling
from seqjax.nn._recurrent import RNN as RNN
from seqjax.nn._recurrent import Bidirectional as Bidirectional
from seqjax.nn._s5_block import S5Block as S5Block
from seqjax.nn._seq2seq import Seq2Seq as Seq2Seq
from seqjax.nn._stack import Stack as Stack
from seqjax.nn._streaming import make_step as make_step
from seqjax.nn._summary import num_params as num_params
from seqjax.nn._summary import summary as summary
from seqjax.nn._tdnn import TDNN as TDNN
from seqjax.nn._xlstm_block import XLSTMBlock as XLSTMBlock
