"""The generation experiment, end to end, on texts and music that are drawn here."""

import dataclasses
import io
import json
import sys

import jax
import mido
import numpy as np
import programs
import pytest

from experiments import command_line, generate
from experiments.generate.characters import split_characters
from experiments.generate.chord_progressions import chord_progressions
from experiments.generate.midi import midi_bytes
from experiments.generate.model import Asked, make_judge, make_loss, model_functions, zero_state
from experiments.generate.note_baselines import note_rates
from experiments.generate.pieces import sequence_segments
from experiments.generate.predict import answer_lines
from seqjax import data, train
from seqjax.data._chorales import NUM_NOTES, piano_roll

SMALL = {
    "hidden_size": 8, "embedding_size": 6, "batch_size": 4, "length": 8, "epochs": 2, "seeds": 1,
    "warm_up": 4, "sample_length": 20,
}  # fmt: skip
RHYME = "one for sorrow,\ntwo for joy,\nthree for a girl,\nfour for a boy.\n" * 10


@pytest.fixture(scope="module")
def rhyme(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "rhyme.txt"
    path.write_text(RHYME)
    return str(path)


def small(path=None, **changes):
    task = "generated_music" if path is None else "text"
    return generate.configure(**{"task": task, "path": path, **SMALL, **changes})


def run_in(folder, config):
    return generate.run(config, workdir=folder / "run", notify=lambda line: None)


@pytest.fixture(scope="module")
def finished(rhyme, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    lines = []
    config = small(rhyme, seeds=2, learning_rate=0.02, epochs=4, restart=0.2)
    result = generate.run(config, workdir=path, notify=lines.append)
    return config, result, "\n".join(lines)


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    config = small(learning_rate=0.02, batch_size=50)
    return config, run_in(tmp_path_factory.mktemp("music"), config)


def trained(config, path, num_kinds):
    """The parameters before and after training, and the rows of the epochs."""
    functions = model_functions(config, num_kinds)
    before = functions.init(jax.random.split(jax.random.key(config.seed))[0])
    folder = train.open_run(path, dataclasses.asdict(config), resume=True)
    after = train.best_params(folder, config.seed, before)
    rows = [row for row in folder.metrics() if row["kind"] == "epoch"]
    return functions, before, after, [row for row in rows if row["seed"] == config.seed]


def test_run_folder(finished):
    config, (path, result), _ = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert result["experiment"] == "generate"
    assert result["dataset"] == "text"
    nll = result["metrics"]["test_nll"]
    assert len(nll["per_seed"]) == result["seeds"] == 2
    bits = result["metrics"]["test_bits_per_character"]
    np.testing.assert_allclose(bits["per_seed"], np.array(nll["per_seed"]) / np.log(2))
    assert set(result["floors"]) == {"1_gram", "2_gram", "3_gram", "5_gram"}
    assert result["floors"]["5_gram"] < result["floors"]["1_gram"]
    assert (path / "figures" / "training.png").exists()
    assert len((path / "sample.txt").read_text()) == config.sample_length
    assert set((path / "sample.txt").read_text()) <= set(RHYME)


def test_report(finished):
    _, (path, result), report = finished
    assert report.splitlines()[-1].startswith("test_nll ")
    assert report.splitlines()[-1].endswith(str(path / "result.json"))
    for part in ("RNN(gru(8), 6)", "cost ", "baseline: 5_gram", f"{result['num_params']:,}"):
        assert part in report


@pytest.mark.parametrize(
    "fixture", ["finished", pytest.param("composed", marks=pytest.mark.extended)]
)
def test_every_parameter_moves_and_the_loss_falls(fixture, request):
    config, (path, result), *_ = request.getfixturevalue(fixture)
    num_kinds = len(set(RHYME)) if config.text else NUM_NOTES
    _, before, after, rows = trained(config, path, num_kinds)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before, after)
    assert all(jax.tree.leaves(moved)), moved
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["val_nll"] < rows[0]["val_nll"]
    assert result["num_params"] == sum(leaf.size for leaf in jax.tree.leaves(before))


def test_the_test_part_is_judged_as_if_read_in_one_go(finished):
    """Streams and segments change nothing but how far back the first ones look."""
    config, (path, result), _ = finished
    functions, _, params, _ = trained(config, path, len(set(RHYME)))
    split = split_characters(RHYME)
    first = split.test
    logits, _ = functions.apply(params, Asked(split.ids[None, :-1]))
    logs = jax.nn.log_softmax(logits[0])[np.arange(len(RHYME) - 1), split.ids[1:]]
    whole = -float(logs[first - 1 :].mean())
    judge = make_judge(functions, train.data_mesh(1))
    segments = data.scoring_segments(split.ids, first, len(RHYME), 1, 5, warm_up=len(RHYME))
    assert judge(params, segments) == pytest.approx(whole, rel=1e-4)
    assert result["metrics"]["test_nll"]["per_seed"][0] == pytest.approx(whole, rel=0.2)


@pytest.mark.extended
def test_music(composed):
    _, (path, result) = composed
    assert set(result["floors"]) == {"note_rates", "note_repetition"}
    sample = mido.MidiFile(path / "sample.mid")
    assert all(21 <= m.note <= 108 for m in sample.tracks[0] if m.type.startswith("note"))
    roll = generate.compose(path, sample_length=9)
    assert roll.shape == (9, 88)
    np.testing.assert_array_equal(roll, generate.compose(path, sample_length=9))
    assert (roll != generate.compose(path, sample_length=9, seed=1)).any()
    file = path / "new.mid"
    assert list(answer_lines(str(path), str(file))) == [f"20 quarter notes of music in {file}"]
    assert mido.MidiFile(file).length <= 20 * 60 / 80 + 1
    with pytest.raises(train.RunError, match=r"A run of a text is needed, .* is generated_music"):
        list(generate.continue_text(path, "one"))
    with pytest.raises(data.DataError, match="needs a MIDI file that can be written"):
        list(answer_lines(str(path), str(path / "none" / "new.mid")))


def test_a_midi_file_holds_the_notes():
    roll = np.stack([piano_roll([notes])[0] for notes in ([60, 64], [60], [], [60])])
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(roll)))
    sounding, heard = set(), []
    for message in file.tracks[0]:
        if message.time:
            heard += [set(sounding)] * (message.time // file.ticks_per_beat)
        if message.type == "note_on":
            sounding.add(message.note)
        elif message.type == "note_off":
            sounding.remove(message.note)
    assert heard == [{60, 64}, {60}, set(), {60}]
    assert not sounding


def test_a_prompt_is_continued(finished, tmp_path, capsys):
    config, (path, _), _ = finished
    text = "".join(generate.continue_text(path, "one for", temperature=0.0, sample_length=12))
    functions, _, params, _ = trained(config, path, len(set(RHYME)))
    alphabet = split_characters(RHYME).alphabet
    # Each is the likeliest after all that stands before it, the text being read in one go.
    logits, _ = functions.apply(params, Asked(alphabet.encode("one for" + text)[None]))
    assert text == alphabet.decode(logits[0, 6:-1].argmax(-1))
    assert list(answer_lines(str(path), "one for", temperature=0.0, sample_length=12)) == [""]
    assert capsys.readouterr().out == "one for" + text
    with pytest.raises(data.DataError, match="got 'Z' in 'Zoo'"):
        list(answer_lines(str(path), "Zoo"))
    assert capsys.readouterr().out == ""  # not even the prompt
    with pytest.raises(data.DataError, match="needs a prompt of at least one character"):
        list(generate.continue_text(path, ""))
    with pytest.raises(command_line.ConfigError, match=r"--top_p must lie in \(0, 1\], got 2"):
        list(generate.continue_text(path, "one", top_p=2.0))
    with pytest.raises(train.RunError, match="A run of music is needed"):
        generate.compose(path)
    with pytest.raises(train.RunError, match="needs a finished run"):
        list(generate.continue_text(tmp_path, "one"))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"cell": "rnn"}, marks=pytest.mark.extended),
        pytest.param({"cell": "lstm", "num_layers": 2}, marks=pytest.mark.extended),
        {"cell": "min_gru", "embedding_size": 8, "tie_weights": True},
        {"cell": "feedforward", "width": 3},
    ],
)
def test_a_start_forgets_and_segments_are_one_text(changes, rhyme):
    """The loss of two segments is that of their text; after a start nothing is left of before."""
    config = small(rhyme, dropout=0.0, **changes)
    functions = model_functions(config, 9)
    params = functions.init(jax.random.key(0))
    ids = np.random.default_rng(0).integers(0, 9, 17)
    first, second = data.training_segments(ids, 1, 8)
    loss = jax.jit(make_loss(functions))
    state = zero_state(functions, first)
    _, _, carried = loss(params, None, first, state)
    values = [loss(params, None, first, state)[0], loss(params, None, second, carried)[0]]
    (whole,) = data.training_segments(ids, 1, 16)
    np.testing.assert_allclose(np.mean(values), loss(params, None, whole, state)[0], rtol=1e-5)
    anew = second._replace(starts=np.array([True]))
    fresh = loss(params, None, anew, carried)[0]
    logits, _ = functions.apply(params, Asked(second.inputs))
    logs = jax.nn.log_softmax(logits[0])[np.arange(8), second.targets[0]]
    np.testing.assert_allclose(fresh, -logs.mean(), rtol=1e-5)
    assert fresh != values[1]


def test_filler_does_not_count():
    config = small(dropout=0.0, input_dropout=0.0)
    functions = model_functions(config, NUM_NOTES)
    params = functions.init(jax.random.key(0))
    pieces = chord_progressions(np.random.default_rng(0), 3, longest=13)
    values = []
    for rows, bucket in ((3, 13), (5, 16)):
        (segment,) = sequence_segments(pieces, rows, [bucket])
        segment.targets[segment.weights == 0] = 1
        loss, sums, _ = make_loss(functions)(params, None, segment, zero_state(functions, segment))
        values.append((loss, sums["weight"]))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    rates = note_rates(pieces, pieces)
    assert values[0][0] > rates  # it has learnt nothing yet


def test_how_a_run_is_asked_does_not_name_its_folder():
    def folder(**changes):
        config = generate.configure(task="generated_text", **changes)
        return command_line.default_workdir("generate", config)

    assert folder() == folder(temperature=0.5, top_k=3, top_p=0.5, sample_length=3)
    assert folder() != folder(hidden_size=9)
    assert folder().parts[:2] == ("runs", "generate")


@pytest.mark.parametrize("task", generate.TASKS)
def test_every_task_has_defaults_and_a_command(task):
    config = generate.configure(task=task, path="x.txt" if task == "text" else None)
    file = " --path=x.txt" if task == "text" else ""
    start = f"python -m experiments.generate --cell={config.cell} --task={task}{file}"
    assert config.command("generate") == start
    assert dataclasses.replace(config, seeds=9).command("generate") == f"{start} --seeds=9"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"cell": "bigru"},
            f"--cell must be one of {', '.join(generate.CELLS)}; got 'bigru'",
        ),
        ({"task": "text"}, "--task=text needs --path"),
        ({"path": "x.txt"}, "--path needs --task=text, got --task=shakespeare"),
        ({"top_p": 0.0}, r"--top_p must lie in \(0, 1\], got 0"),
        ({"task": "music", "top_k": 3}, "choose among characters; music has none"),
        ({"tie_weights": True}, "--embedding_size equal to --hidden_size"),
        ({"task": "music", "tie_weights": True}, "--tie_weights needs a text"),
        ({"dropout": 1.0}, r"--dropout must lie in \[0, 1\), got 1.0"),
        ({"restart": 1.0}, r"--restart must lie in \[0, 1\), got 1.0"),
        ({"temperature": -1.0}, "--temperature must be at least 0, got -1"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        generate.configure(**changes)


@pytest.mark.extended
def test_interrupted_and_resumed_to_the_same_bits(finished, tmp_path, monkeypatch):
    """What another run with these settings came to, which nothing interrupted."""
    module = sys.modules["experiments.generate.study"]
    config, (_, whole), _ = finished
    make = module.epoch_segments

    def interrupted(config, task, seed, epoch):
        segments = list(make(config, task, seed, epoch))
        return Interrupted(segments) if (seed, epoch) == (1, 2) else segments

    monkeypatch.setattr(module, "epoch_segments", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_in(tmp_path, config)
    monkeypatch.setattr(module, "epoch_segments", make)
    path = tmp_path / "run"
    assert not (path / "result.json").exists()
    resumed = generate.run(config, workdir=path, resume=True, notify=lambda line: None).result
    for name in ("params_sha256", "data_sha256"):
        assert resumed[name] == whole[name]
    assert resumed["metrics"]["test_nll"] == whole["metrics"]["test_nll"]


class Interrupted(list):
    """Segments of which the third is never reached."""

    def __iter__(self):
        yield from self[:2]
        raise KeyboardInterrupt


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    line = programs.refusal(
        "generate", "--cell=lstm", f"--workdir={tmp_path / 'run'}",
        said=tmp_path / "said", SEQJAX_DATA_DIR=None,
    )  # fmt: skip
    assert "--data_dir or SEQJAX_DATA_DIR" in line
    assert not (tmp_path / "run").exists()
