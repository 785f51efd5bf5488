"""Readers, vocabularies and batches. Importing it needs NumPy only."""

from seqjax.data.batching import Batch as Batch
from seqjax.data.batching import bucket_lengths as bucket_lengths
from seqjax.data.batching import bucketed_batches as bucketed_batches
from seqjax.data.batching import truncate as truncate
from seqjax.data.cache import EncodedReviews as EncodedReviews
from seqjax.data.cache import cache_folder as cache_folder
from seqjax.data.cache import encode_reviews as encode_reviews
from seqjax.data.cache import read_entry as read_entry
from seqjax.data.cache import write_entry as write_entry
from seqjax.data.errors import DataError as DataError
from seqjax.data.generated_reviews import generate_reviews as generate_reviews
from seqjax.data.ragged import Ragged as Ragged
from seqjax.data.reviews import DATASETS as DATASETS
from seqjax.data.reviews import Reviews as Reviews
from seqjax.data.reviews import load_reviews as load_reviews
from seqjax.data.splitting import split_validation as split_validation
from seqjax.data.splitting import text_hashes as text_hashes
from seqjax.data.vocabulary import PADDING_ID as PADDING_ID
from seqjax.data.vocabulary import UNKNOWN_ID as UNKNOWN_ID
from seqjax.data.vocabulary import Vocabulary as Vocabulary
from seqjax.data.vocabulary import build_vocabulary as build_vocabulary
