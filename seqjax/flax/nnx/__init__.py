"""Everything of `flax.nnx`, with our `RNN` in place of its own: the one import that changes."""

from flax.nnx import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]

from seqjax.flax._rnn import RNN as RNN
