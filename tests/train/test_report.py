"""The figure and the page."""

import numpy as np
import pytest

from experiments.intervals import summarise
from experiments.summary import versions, write_summary
from seqjax.train import open_run, plot_training

RESULT = {
    "experiment": "imdb",
    "cell": "bigru",
    "dataset": "imdb_reviews",
    "num_params": 1234567,
    "seeds": 2,
    "epochs_run": [9, 8],
    "wall_s": 61.25,
    "versions": versions(),
    "devices": {"platform": "cpu", "kind": "cpu", "count": 2},
    "data_sha256": "d" * 64,
    "params_sha256": ["a" * 64, "b" * 64],
    "floors": {"chance": 0.5},
    "metrics": {
        "test_accuracy": summarise([0.8, 0.9], bounds=(0, 1)),
        "test_nll": summarise([0.41, 0.4]),
    },
    "whose": {"test_accuracy": "mixture", "test_nll": "network"},
}


def rows(seeds=3, epochs=12):
    rng = np.random.default_rng(0)
    for seed in range(seeds):
        for epoch in range(1, epochs + 1 - seed):
            yield {"kind": "step", "seed": seed, "epoch": epoch, "step": 10 * epoch}
            curve = {
                "train_loss": 0.7 * np.exp(-epoch / 4) + 0.02 * rng.normal(),
                "val_accuracy": 0.9 - 0.4 * np.exp(-epoch / 3) + 0.01 * rng.normal(),
            }
            yield {"kind": "epoch", "seed": seed, "epoch": epoch, "step": 10 * epoch, **curve}


@pytest.mark.parametrize(("seeds", "epochs"), [(3, 12), (1, 12), (1, 1)])
def test_figure(tmp_path, seeds, epochs):
    path = tmp_path / "figures" / "training.png"
    plot_training(
        rows(seeds, epochs), path, best_epochs=dict.fromkeys(range(seeds), epochs // 2 or 1)
    )
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in path.parent.iterdir()] == ["training.png"]


def test_figure_without_epochs(tmp_path):
    with pytest.raises(ValueError, match="no epoch has the metric 'val_f1'"):
        plot_training(rows(), tmp_path / "x.png", metric="f1")


def test_summary(tmp_path):
    run = open_run(tmp_path, {}, resume=False)
    plot_training(rows(), run.figures / "training.png")
    text = write_summary(run, RESULT, command="python -m experiments.imdb --cell=bigru").read_text()
    for part in (
        "# imdb: bigru on imdb_reviews",
        "1,234,567 parameters, 2 seeds, 9, 8 epochs, 61 s on 2 x cpu.",
        "| test_accuracy | mixture | 0.85 | 0.2147 to 1 |",
        "| chance | 0.5 |",
        "| 1 | 0.9 | 0.4 |",
        "![training](figures/training.png)",
        "python -m experiments.imdb --cell=bigru\n",
        "parameters `aaaaaaaaaaaa`, `bbbbbbbbbbbb`",
    ):
        assert part in text


def test_summary_of_one_seed(tmp_path):
    run = open_run(tmp_path, {}, resume=False)
    one = {**RESULT, "seeds": 1, "epochs_run": 1, "metrics": {"test_mse": summarise([0.1])}}
    result = {**one, "params_sha256": "a" * 64, "floors": {}}
    text = write_summary(run, result, command="x").read_text()
    assert "1 seed, 1 epoch," in text
    assert "| test_mse | - | 0.1 | - |" in text
    assert "no interval can be given" in text
    assert "baseline" not in text
    assert "generated" not in text


def test_summary_of_generated_data(tmp_path):
    run = open_run(tmp_path, {}, resume=False)
    generated = {**RESULT, "dataset": "generated_reviews"}
    assert "No real data" in write_summary(run, generated, command="x").read_text()
