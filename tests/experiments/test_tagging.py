"""The tagging experiment, end to end, on sentences that are generated or written here."""

import dataclasses
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import programs
import pytest

from experiments import command_line, per_class, tagging
from experiments.tagging.generated_tags import GENERATED_TAGS, generate_tagged
from experiments.tagging.model import make_loss, model_functions
from experiments.tagging.task import load_task, make_batches
from experiments.tagging.vocabulary import Vocabulary, build_vocabulary, pieces
from seqjax import data, train
from seqjax.data._conllu import TaggedSentence, TaggedSplits

SMALL = {
    "task": "generated", "train_size": 60, "seeds": 2, "epochs": 4, "learning_rate": 0.02,
    "num_buckets": 1, "max_length": 8, "max_characters": 4, "embedding_size": 6, "affix_size": 3,
    "character_size": 4, "char_hidden_size": 3, "hidden_size": 8, "ema_decay": 0.0,
    "dropout": 0.1, "embedding_dropout": 0.1,
}  # fmt: skip


def small(**changes):
    return tagging.configure(**{**SMALL, **changes})


def run_on(path, config):
    return tagging.run(config, workdir=path, notify=lambda line: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    lines = []
    config = small()
    result = tagging.run(config, workdir=path, notify=lines.append)
    return config, result, "\n".join(lines)


@pytest.mark.extended
def test_run_folder(finished):
    config, (path, result), _ = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert result["experiment"] == "tagging"
    assert result["dataset"] == "generated"
    assert set(result["metrics"]) >= {
        "test_accuracy", "test_loss", "test_accuracy_known", "test_accuracy_unknown",
        "validation_accuracy",
    }  # fmt: skip
    assert set(result["floors"]) == {"majority", "most_frequent_tag"}
    assert result["floors"]["majority"] < result["floors"]["most_frequent_tag"] < 1
    assert (path / "figures" / "training.png").exists()
    assert (path / "figures" / "confusion.png").exists()


def test_report_of_every_tag(finished):
    _, (path, result), report = finished
    content = json.loads((path / "report.json").read_text())
    counts = np.array(content["confusion"])
    accuracy = result["metrics"]["test_accuracy"]["mean"]
    assert np.trace(counts) / counts.sum() == pytest.approx(accuracy)
    assert content["names"] == sorted(GENERATED_TAGS)
    words = sum(len(sentence.words) for sentence in generate_tagged(60).test)
    supports = [content["classes"][tag]["support"] for tag in content["names"]]
    assert sum(supports) == content["classes"]["macro"]["support"] == words
    table = (path / "report.md").read_text()
    for tag in GENERATED_TAGS:
        assert f"| {tag} " in table
        assert f"| {tag} " in report
    assert report.splitlines()[-1].startswith("test_accuracy 0.")
    assert "baseline: most_frequent_tag" in report


def test_scores_of_classes():
    counts = np.array([[2, 1, 0], [0, 2, 0], [0, 0, 0]])
    found = per_class.scores(counts, "abc")
    assert found["a"] == {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "support": 3}
    assert found["b"]["precision"] == 2 / 3
    assert found["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    assert found["macro"]["f1"] == pytest.approx(0.8)  # of a and b, which have support
    assert per_class.most_confused(counts, "abc", 1) == ["a taken for b: 1 of 3"]


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """A run without memory, in which there is less to compile."""
    config = small(cell="feedforward", char_hidden_size=0)
    return config, run_on(tmp_path_factory.mktemp("window"), config)


@pytest.mark.parametrize("run", ["finished", pytest.param("window", marks=pytest.mark.extended)])
def test_every_parameter_moves_and_the_loss_falls(run, request):
    config, (path, result), *_ = request.getfixturevalue(run)
    functions = model_functions(config, Vocabulary.load(path).sizes)
    before = functions.init(jax.random.split(jax.random.key(0))[0])
    folder = train.open_run(path, dataclasses.asdict(config), resume=True)
    after = train.best_params(folder, 0, before)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(moved)), moved
    rows = [row for row in folder.metrics() if row["kind"] == "epoch" and row["seed"] == 0]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["val_accuracy"] > result["floors"]["majority"] + 0.1


def test_finished_run(finished):
    config, (path, result), _ = finished
    with pytest.raises(train.RunError, match="already holds a run; continue it with --resume"):
        run_on(path, config)
    assert tagging.run(config, workdir=path, resume=True, notify=lambda line: None)[1] == result


@pytest.mark.extended
def test_interrupted_and_resumed_to_the_same_bits(window, tmp_path, monkeypatch):
    """And so the same settings give the same bits."""
    module = sys.modules["experiments.tagging.study"]
    config, (_, whole) = window
    make = module.epoch_batches

    def interrupted(config, task, seed, epoch):
        batches = make(config, task, seed, epoch)
        return batches if (seed, epoch) != (1, 2) else broken(batches)

    def broken(batches):
        yield batches[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "epoch_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_on(tmp_path, config)
    assert not (tmp_path / "result.json").exists()
    monkeypatch.setattr(module, "epoch_batches", make)
    resumed = tagging.run(config, workdir=tmp_path, resume=True, notify=lambda line: None).result
    assert resumed["params_sha256"] == whole["params_sha256"]
    assert resumed["metrics"]["test_accuracy"] == whole["metrics"]["test_accuracy"]


@pytest.mark.parametrize("crf", [pytest.param(True, marks=pytest.mark.extended), False])
def test_padding_and_rows_that_fill_do_not_count(crf):
    config = small(
        crf=crf, cell="birnn", char_hidden_size=2 * crf,
        dropout=0.0, embedding_dropout=0.0, word_dropout=0.0,
    )  # fmt: skip
    task = load_task(config)
    functions = model_functions(config, task.vocabulary.sizes)
    params = functions.init(jax.random.key(0))
    if crf:
        params.crf.transitions[...] = 0.5 * jax.random.normal(jax.random.key(2), (11, 11))
    step = jax.jit(jax.value_and_grad(make_loss(functions), has_aux=True))
    some = task.test._replace(sequences=task.test.sequences[:3])
    (tight,) = make_batches(some, 3, [8])
    (loose,) = make_batches(some, 5, [10])
    padding = loose.weights == 0
    for values in loose[:5]:
        values[padding] = 1  # anything that has an embedding
    found = [step(params, jax.random.key(1), batch) for batch in (tight, loose)]
    assert found[0][0][1]["weight"] == sum(len(sequence) for sequence in some.sequences)
    for first, second in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


# A tenth of the names stands for all, in the order of the table.
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, marks=() if i % 10 == 0 else pytest.mark.extended)
        for i, cell in enumerate(tagging.CELLS)
        if cell != "bilstm"
    ],
)
def test_every_cell_has_a_model(cell):
    config = small(cell=cell, crf=False, num_layers=2,
                   affix_size=0, char_hidden_size=0)  # fmt: skip
    task = load_task(config)
    functions = model_functions(config, task.vocabulary.sizes)
    batch = make_batches(task.test, 2, [8])[0]
    shapes = jax.eval_shape(functions.init, jax.random.key(0))
    scored = jax.eval_shape(functions.apply, shapes, batch)
    assert scored.emissions.shape == (2, 8, 11)
    assert scored.crf is None


def test_vocabulary(tmp_path):
    sentences = [TaggedSentence(("The", "the", "USA", "cat"), ("D", "D", "P", "N"))]
    splits = TaggedSplits("x", sentences, sentences, [TaggedSentence(("!",), ("M",))])
    vocabulary = build_vocabulary(splits, 2)
    assert vocabulary.words == ["the"]
    assert vocabulary.tags == ["D", "M", "N", "P"]
    assert vocabulary.sizes == {"words": 3, "characters": len(set("ThetheUSAcat")) + 2,
                                "affixes": len(vocabulary.affixes) + 2, "tags": 4}  # fmt: skip
    encoded = vocabulary.encode([*sentences, *splits.test], max_characters=2)
    assert encoded.words.tolist() == [0, 2, 2, 1, 1, 1]
    assert encoded.word_lengths.tolist() == [0, 2, 2, 2, 2, 1]
    assert encoded.tags.tolist() == [0, 0, 0, 3, 2, 1]
    assert [rows.tolist() for rows in encoded.sequences] == [[1, 2, 3, 4], [5]]
    assert (encoded.characters[1] != encoded.characters[2]).any()  # The, the
    first, last = (vocabulary.characters.index(sign) + 2 for sign in "Te")
    assert encoded.characters[1].tolist() == [first, last]
    vocabulary.save(tmp_path)
    assert Vocabulary.load(tmp_path) == vocabulary
    for damage in ("{", '{"words": 3}', "[]"):
        (tmp_path / "vocabulary.json").write_text(damage)
        with pytest.raises(data.DataError, match="must be a file that a run has written"):
            Vocabulary.load(tmp_path)


def test_a_long_sentence_is_cut_and_every_word_kept():
    long = TaggedSentence(tuple(map(str, range(10))), ("X",) * 10)
    cut = list(pieces([long, long._replace(words=("a",), tags=("Y",))], 4))
    assert [len(piece.words) for piece in cut] == [4, 4, 2, 1]
    assert sum((piece.words for piece in cut), ()) == (*long.words, "a")


def test_predict(finished, tmp_path):
    config, (path, _), _ = finished
    found = tagging.predict(path, "I don't plan the walk! Well, we find a house.")
    words = "I do n't plan the walk ! Well , we find a house ."
    assert [word for word, _ in found] == words.split()
    assert len(found) > config.max_length  # read in two pieces
    assert {tag for _, tag in found} <= set(GENERATED_TAGS)
    assert found[-1] == (".", "PUNCT")
    with pytest.raises(data.DataError, match="needs a printable text with a word, got '  '"):
        tagging.predict(path, "  ")
    with pytest.raises(train.RunError, match="needs a finished run"):
        tagging.predict(tmp_path, "good")


def test_a_folder_of_your_own(tmp_path):
    splits = generate_tagged(40, 10, 10)
    for part, sentences in (
        ("train", splits.train),
        ("dev", splits.validation),
        ("test", splits.test),
    ):
        blocks = [
            "\n".join(
                f"{i}\t{word}\t_\t{tag}\t_\t_\t0\troot\t_\t_"
                for i, (word, tag) in enumerate(zip(*sentence, strict=True), start=1)
            )
            for sentence in sentences
        ]
        (tmp_path / f"mine-{part}.conllu").write_text("\n\n".join(blocks))
    task = load_task(small(task="conllu", path=str(tmp_path)))
    assert task.splits.name == f"conllu {tmp_path.name}"
    assert task.splits[1:] == splits[1:]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cell": "transformer"},
            "--cell must be one of rnn, lstm, gru, min_gru, ",
        ),
        ({"task": "ner"}, "--task must be one of partut, generated, conllu"),
        ({"task": "conllu"}, "--task=conllu needs --path"),
        ({"path": "x"}, "--path needs --task=conllu, got --task=generated"),
        ({"word_dropout": 1.0}, r"--word_dropout must lie in \[0, 1\), got 1.0"),
        ({"hidden_size": 0}, "--hidden_size must be at least 1, got 0"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        small(**changes)


def test_command_repeats_the_run():
    config = tagging.configure(cell="gru", crf=False, seeds=7)
    assert config.command("tagging") == (
        "python -m experiments.tagging --cell=gru --task=partut --seeds=7 --crf=False"
    )
    config = tagging.configure(task="conllu", path="my folder")
    assert config.command("tagging") == (
        "python -m experiments.tagging --cell=bilstm --task=conllu '--path=my folder'"
    )


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    flags = [f"--workdir={tmp_path / 'run'}"]
    line = programs.refusal("tagging", *flags, said=tmp_path / "said", SEQJAX_DATA_DIR=None)
    assert "partut: the folder of the data must be given with --data_dir" in line
    assert not (tmp_path / "run").exists()


def test_real_partut_is_learnt(tmp_path):
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not (Path(root) / "ud_partut").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no ud_partut")
    config = tagging.configure(
        cell="feedforward", crf=False, char_hidden_size=0, seeds=1, epochs=2, learning_rate=0.01
    )
    _, result = run_on(tmp_path, config)
    assert result["floors"]["most_frequent_tag"] == pytest.approx(0.9143, abs=1e-4)
    assert result["metrics"]["test_accuracy"]["mean"] > 0.85
