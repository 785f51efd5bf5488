"""The translation experiment, end to end, on a small made-up language."""

import dataclasses
import functools
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import programs
import pytest

from experiments import command_line, translate
from experiments.optimizer import make_optimizer
from experiments.translate.model import make_loss, model_functions
from experiments.translate.scoring import bleu
from experiments.translate.task import as_published, load_task
from experiments.translate.transduction import generate_translations
from seqjax import data, train

SMALL = {
    "task": "generated", "cell": "rnn", "train_size": 60, "test_size": 20, "epochs": 3, "seeds": 2,
    "batch_size": 20, "embedding_size": 6, "hidden_size": 4, "decoder_size": 5, "target_buckets": 1,
    "bleu_sentences": 20, "beam_width": 2,
}  # fmt: skip


def small(**changes):
    return translate.configure(**{**SMALL, **changes})


def run_on(path, config):
    return translate.run(config, workdir=path, notify=lambda line: None)


@pytest.fixture(scope="module", autouse=True)
def shared_programs():
    """Runs with the same settings share what is compiled: most of the time would be that."""
    made, make = {}, translate.prepare

    def prepare(config, notify, mesh):
        if config not in made:
            made[config] = make(config, notify, mesh=mesh)
        return made[config]

    with pytest.MonkeyPatch.context() as patch:
        shared = dataclasses.replace(translate.EXPERIMENT, prepare=prepare)
        patch.setattr(translate, "run", shared.run)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    lines = []
    config = small()
    result = translate.run(config, workdir=path, notify=lines.append)
    return config, result, "\n".join(lines)


def test_run_folder(finished):
    config, (path, result), _ = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert result["experiment"] == "translate"
    assert result["dataset"] == "generated"
    assert set(result["floors"]) == {"copy", "lexicon"}
    assert set(result["metrics"]) >= {
        "test_bleu", "test_bleu_greedy", "test_nll", "validation_bleu", "selected_epoch",
    }  # fmt: skip
    for name in ("training", "attention"):
        assert (path / "figures" / f"{name}.png").exists()
    lines = (path / "translations.txt").read_text().splitlines()
    references = generate_translations(60, 20).test.targets
    assert len(lines) == len(references) == 20
    assert bleu(lines, references) == pytest.approx(result["metrics"]["test_bleu"]["per_seed"][0])
    assert "test_bleu" in (path / "summary.md").read_text()


def test_report(finished):
    _, (path, result), report = finished
    assert report.splitlines()[-1].startswith("test_bleu ")
    assert report.splitlines()[-1].endswith(str(path / "result.json"))
    for part in ("Bidirectional(elman(4)", "made-up language", "baseline: lexicon", "bleu greedy"):
        assert part in report
    assert f"{result['num_params']:,}" in report


def test_every_parameter_moves_and_the_loss_falls(finished):
    config, (path, result), _ = finished
    task = load_task(config)
    functions = model_functions(config, len(task.source), len(task.target))
    before = functions.init(jax.random.split(jax.random.key(0))[0])
    folder = train.open_run(path, dataclasses.asdict(config), resume=True)
    after = train.best_params(folder, 0, before)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(moved)), moved
    losses = [row["val_loss"] for row in folder.metrics() if row["kind"] == "epoch"]
    assert losses[2] < losses[1] < losses[0]
    assert result["num_params"] == sum(leaf.size for leaf in jax.tree.leaves(before))


@pytest.mark.extended
def test_interrupted_and_resumed_to_the_same_bits(finished, tmp_path, monkeypatch):
    config, (_, whole), _ = finished
    module = sys.modules["experiments.translate.study"]
    make = module.epoch_batches

    def interrupted(config, task, seed, epoch):
        batches = make(config, task, seed, epoch)
        if (seed, epoch) != (1, 2):
            return batches
        return iter_until(batches, 1)

    def iter_until(batches, number):
        yield from batches[:number]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "epoch_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_on(tmp_path, config)
    assert not (tmp_path / "result.json").exists()
    monkeypatch.setattr(module, "epoch_batches", make)
    resumed = translate.run(config, workdir=tmp_path, resume=True, notify=lambda line: None).result
    assert resumed["params_sha256"] == whole["params_sha256"]
    assert resumed["metrics"]["test_bleu"] == whole["metrics"]["test_bleu"]
    assert resumed["metrics"]["test_nll"] == whole["metrics"]["test_nll"]


def test_finished_run_is_not_run_again(finished):
    config, (path, result), _ = finished
    with pytest.raises(train.RunError, match="already holds a run; continue it with --resume"):
        translate.run(config, workdir=path)
    again = translate.run(config, workdir=path, resume=True, notify=lambda line: None)
    assert again.result == result


def test_predict(finished, tmp_path):
    _, (path, _), _ = finished
    written = translate.predict(path, "the dog sees a cat")
    known = {
        word for target in generate_translations(60, 20).train.targets for word in target.split()
    }
    assert set(written.split()) <= known
    with pytest.raises(data.DataError, match="a word the run has seen, got 'xyzzy'"):
        translate.predict(path, "xyzzy")
    with pytest.raises(train.RunError, match="needs a finished run"):
        translate.predict(tmp_path, "the dog")


def loss_of(config, batches, differentiated=lambda loss: loss):
    task = load_task(config)
    functions = model_functions(config, len(task.source), len(task.target))
    params = functions.init(jax.random.key(0))
    loss = jax.jit(differentiated(make_loss(config, functions)))
    return [loss(params, jax.random.key(1), batch) for batch in batches]


def test_padding_and_filler_rows_do_not_count():
    config = small(dropout=0.0, embedding_dropout=0.0)
    task = load_task(config)
    pairs = [side[:4] for side in task.train]
    sizes = (4, [(14, 14)]), (7, [(20, 18)])
    batches = [data.pair_batches(*pairs, *size, rng=None)[0] for size in sizes]
    batches[1].source[4:] = 5
    batches[1].target[4:] = 5
    one, other = loss_of(config, batches)
    for first, second in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)
    tokens = sum(len(ids) for ids in pairs[1])
    assert one[1]["weight"] == tokens


@pytest.mark.extended
@pytest.mark.parametrize(
    "changes",
    [
        {"decoder_layers": 2, "attention": "additive", "token_dropout": 0.1},
        {"cell": "lstm", "input_feeding": True, "sampling_rate": 0.3, "attend_from": "top"},
    ],
)
def test_every_wiring_has_a_gradient_everywhere(changes):
    config = small(**changes)
    task = load_task(config)
    (batch,) = data.pair_batches(*(side[:8] for side in task.train), 8, task.buckets, rng=None)
    gradient_of = functools.partial(jax.value_and_grad, has_aux=True)
    (((value, _), gradient),) = loss_of(config, [batch], gradient_of)
    assert np.isfinite(value)
    silent = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
        if not (np.isfinite(leaf).all() and leaf.any())
    ]
    assert not silent


def test_bleu():
    assert bleu(["a b c d", "e f g h"], ["a b c d", "e f g h"]) == 100
    assert bleu(["x y z w"], ["a b c d"]) == 0
    # Half of the unigrams, and one of three bigrams: the brevity penalty and n-grams count.
    assert 0 < bleu(["a b c d e"], ["a b c d f"]) < 100


def test_sentences_are_written_as_the_data_is():
    config = translate.configure(task="multi30k")
    assert as_published(config, "A man,  asleep.") == "a man , asleep ."
    assert as_published(small(), "A man.") == "A man."


def test_auto_is_the_real_data_where_a_folder_is_named(monkeypatch):
    monkeypatch.delenv("SEQJAX_DATA_DIR", raising=False)
    assert translate.configure().task == "generated"
    assert translate.configure(data_dir="/nowhere").task == "multi30k"
    monkeypatch.setenv("SEQJAX_DATA_DIR", "/nowhere")
    assert translate.configure().task == "multi30k"
    with pytest.raises(data.DataError, match=r"--data_dir must hold multi30k/train.en"):
        load_task(translate.configure())


def test_command_repeats_the_run():
    config = translate.configure(task="folder", path="pairs", cell="lstm", epochs=3)
    wanted = "python -m experiments.translate --cell=lstm --task=folder --path=pairs --epochs=3"
    assert config.command("translate") == wanted
    start = "python -m experiments.translate --cell=gru --task="
    for given in ("multi30k", "generated --seeds=4"):
        task, _, seeds = given.partition(" --seeds=")
        config = translate.configure(task=task, seeds=int(seeds or 1))
        assert config.command("translate") == start + given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": "bigru"}, "--cell must be one of rnn, lstm, gru, min_gru"),
        ({"dropout": 1.0}, r"--dropout must lie in \[0, 1\), got 1.0"),
        ({"task": "folder"}, "--task=folder needs --path"),
        ({"path": "x"}, "--path needs --task=folder, got --task=generated"),
        ({"source_suffix": "de", "target_suffix": "de"}, "must differ, got 'de' for both"),
        ({"attention": "dot"}, "to be twice --hidden_size, got 5 and 4"),
        ({"beam_width": 0}, "--beam_width must be at least 1, got 0"),
        ({"length_penalty": -1.0}, "--length_penalty must be at least 0, got -1"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        small(**changes)


def test_real_data_learns(tmp_path):
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not (Path(root) / "multi30k").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no multi30k")
    config = translate.configure(
        task="multi30k", data_dir=root, embedding_size=16, hidden_size=8, decoder_size=16
    )
    task = load_task(config)
    chosen = [ids for ids in zip(*task.train, strict=True) if max(map(len, ids)) <= 14][:192]
    batches = data.pair_batches(*map(list, zip(*chosen, strict=True)), 64, [(14, 14)], rng=None)
    functions = model_functions(config, len(task.source), len(task.target))
    step = train.make_train_step(
        make_loss(config, functions), make_optimizer(config, 30), mesh=train.data_mesh(64)
    )
    state = step.init(functions.init(jax.random.key(0)), jax.random.key(1))
    losses = []
    for _ in range(10):
        for batch in batches:
            state, record = step.update(state, train.shard(step.mesh, batch))
            losses.append(float(record["loss"]))
    assert losses[0] == pytest.approx(np.log(len(task.target)), rel=0.05)
    assert losses[-1] < losses[0] - 0.5


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    runs = {
        ("--task=multi30k",): "--data_dir or SEQJAX_DATA_DIR",
        ("--predict=a dog",): "needs a finished run",
    }
    for i, (flags, part) in enumerate(runs.items()):
        flags = (*flags, f"--workdir={tmp_path / 'run'}")
        line = programs.refusal(
            "translate", *flags, said=tmp_path / f"said_{i}", SEQJAX_DATA_DIR=None
        )
        assert part in line
    assert not (tmp_path / "run").exists()
