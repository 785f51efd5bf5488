"""A batch that is nothing but padding teaches nothing, in any experiment, and breaks nothing."""

import jax
import numpy as np
import pytest
from marks import with_usual

from experiments import classify, generate, imdb, regression, tagging, transcribe, translate

SMALL = {
    classify: {"task": "generated", "cell": "bigru", "hidden_size": 5, "train_size": 60},
    generate: {"task": "generated_text", "hidden_size": 8, "embedding_size": 6, "length": 8},
    imdb: {"dataset": "generated_reviews", "cell": "bigru", "hidden_size": 5},
    regression: {"task": "narma10", "hidden_size": 6, "lookback": 12, "train_size": 40},
    tagging: {"task": "generated", "train_size": 60, "hidden_size": 8, "char_hidden_size": 3},
    transcribe: {"task": "generated", "cell": "bigru", "hidden_size": 6, "num_mels": 10},
    translate: {"task": "generated", "hidden_size": 8, "embedding_size": 6, "train_size": 100},
}
SHARED = {"batch_size": 4, "seeds": 1, "epochs": 1, "weight_decay": 0.0, "ema_decay": 0.0}


def nothing_but_padding(batch):
    """The batch with all its weights and lengths 0."""
    names = [name for name in batch._fields if "weights" in name or "lengths" in name]
    assert names
    return batch._replace(**{name: np.zeros_like(getattr(batch, name)) for name in names})


@pytest.mark.parametrize(
    "experiment",
    with_usual(SMALL, (classify, generate)),
    ids=lambda each: each.__name__.rpartition(".")[2],
)
def test_padding_alone_changes_nothing(experiment):
    known = experiment.Config.__dataclass_fields__
    given = {k: v for k, v in {**SHARED, **SMALL[experiment]}.items() if k in known}
    study = experiment.prepare(experiment.configure(**given), lambda line: None)
    state = study.step.init(study.functions.init(jax.random.key(0)), jax.random.key(1))
    before = jax.tree.map(np.asarray, state.params)
    batch = next(iter(study.batches(0, 1)))
    state, record = study.step.update(state, nothing_but_padding(batch))
    assert np.isfinite(record["loss"])
    assert float(record["weight"]) == float(record["grad_norm"]) == 0
    assert not record["not_finite"].any()
    jax.tree.map(np.testing.assert_array_equal, before, state.params)
    # And the same batch with its weights does teach.
    state, record = study.step.update(state, batch)
    assert float(record["grad_norm"]) > 0
