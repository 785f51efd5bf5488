"""A run of several seeds is as many runs of one: nothing of them hangs on the first."""

import jax
import numpy as np
import pytest
from marks import with_usual

from experiments import classify, generate, imdb, regression, tagging, transcribe, translate
from seqjax import data, train
from seqjax.train._record import params_sha256

SIZES = {"hidden_size": 3, "epochs": 2}


def table(folder):
    values = np.random.default_rng(0).normal(size=(60, 4)).round(3)
    lines = ["a,b,c,y", *(",".join(map(str, row)) for row in values.tolist())]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return {"task": "csv", "csv_layout": "rows", "path": str(folder / "rows.csv")}


def reviews(folder):
    made = data.generate_reviews(num_train=60, num_test=20)
    for split, texts, labels in (
        ("train", made.train_texts, made.train_labels),
        ("test", made.test_texts, made.test_labels),
    ):
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            file = folder / split / ("neg", "pos")[label] / f"{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    small = {"embedding_size": 3, "pair_size": 0, "max_length": 20, "segment_length": 10}
    return {
        "dataset": "folder",
        "data_dir": str(folder),
        "num_buckets": 1,
        "vocab_size": 50,
    } | small


FEW_SHAPES = {"target_buckets": 1, "test_size": 20}
EXPERIMENTS = {
    "regression": (regression, lambda folder: {"task": "sine", "train_size": 64}),
    "rows": (regression, table),
    "classify": (classify, lambda f: {"task": "generated", "train_size": 40, "num_buckets": 1}),
    "imdb": (imdb, reviews),
    "tagging": (tagging, lambda folder: {"task": "generated", "train_size": 40, "num_buckets": 1}),
    "transcribe": (transcribe, lambda folder: {"task": "generated", "train_size": 40}),
    "translate": (
        translate,
        lambda folder: {"task": "generated", "train_size": 64, "decoder_size": 6} | FEW_SHAPES,
    ),
    "generate": (generate, lambda folder: {"task": "generated_text"}),
}


def outcome(study, seed):
    """Parameters of a seed after some updates, and what the study says of them."""
    init_key, key = jax.random.split(jax.random.key(seed))
    state = study.step.init(study.functions.init(init_key), key)
    for _, batch in zip(range(3), study.batches(seed, 1), strict=False):
        state, _ = study.step.update(state, train.shard(study.step.mesh, batch))
    return params_sha256(state.params), study.validate(state.params)


# New numbers in every epoch. What the seeds share is one code for all experiments.
USUAL = ("regression",)


@pytest.mark.parametrize(
    "name",
    with_usual(EXPERIMENTS, USUAL),
)
def test_a_seed_does_not_hang_on_the_first(tmp_path, name):
    experiment, settings = EXPERIMENTS[name]
    given = {**SIZES, **settings(tmp_path)}
    cache = {"cache_dir": str(tmp_path / "cache")} if experiment is imdb else {}
    studies = [
        experiment.prepare(
            experiment.configure(**given, seed=seed, seeds=seeds), lambda line: None, **cache
        )
        for seed, seeds in ((4, 3), (6, 1))
    ]
    assert studies[0].sha256 == studies[1].sha256
    assert studies[0].about == studies[1].about
    assert studies[0].floors == studies[1].floors
    first, second = (outcome(study, 6) for study in studies)
    assert first == second
