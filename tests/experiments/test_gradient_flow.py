"""The gradient-flow experiment, end to end, on a grid of three points and a handful of updates."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest

import seqjax
from experiments import command_line, gradient_flow
from experiments.gradient_flow import family, grid, measure, tasks, training
from experiments.gradient_flow.family import draw_family, measure_family
from experiments.gradient_flow.findings import findings
from experiments.gradient_flow.report import command
from seqjax import data, train
from seqjax.cells import GatedCell, LinearCell

# A cell of each form that is measured in its own way; the others are among the extended tests.
SHORT_LIST = ("lstm", "lru", "layer_norm_lstm", "mlstm")
SMALL = {
    "cells": "rnn,lstm",
    "inits": "radius_0.5,radius_1.5,forget_1",
    "lengths": "30",
    "hidden_size": 8,
    "family_length": 0,
    "batch_size": 4,
    "seeds": 2,
    "train_inits": "forget_1",
    "steps": 4,
    "eval_every": 2,
    "adding_length": 8,
    "copying_delay": 1,
    "window": 3,
    "train_batch_size": 4,
    "test_size": 8,
    "clip_steps": 4,
    "online": "snap1,rflo",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("gradient_flow") / "run"
    lines = []
    config = gradient_flow.Config(**SMALL)
    result = gradient_flow.run(config, workdir=path, notify=lines.append)
    return config, result, "\n".join(lines)


def test_run_folder(finished):
    config, (path, result, found), report = finished
    assert json.loads((path / "result.json").read_text()) == result
    assert json.loads((path / "config.json").read_text()) == dataclasses.asdict(config)
    assert (result["experiment"], result["cell"], result["seeds"]) == (
        "gradient_flow", "rnn+lstm", 2,
    )  # fmt: skip
    assert {file.stem for file in (path / "figures").glob("*.png")} == {
        "gradient_norms", "singular_values", "lyapunov", "gates", "truncation", "learning",
        "thresholds", "clipping", "online",
    }  # fmt: skip
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    # Points x seeds; networks x tasks x seeds x tests; both ways x seeds x tests.
    assert [kinds.count(kind) for kind in ("measure", "train", "clipping")] == [6, 16, 8]
    summary = (path / "summary.md").read_text()
    assert found
    assert all(paragraph in summary for paragraph in found)
    assert report.splitlines()[-1].split()[0] in result["metrics"]
    assert report.splitlines()[-1].endswith(str(path / "result.json"))
    assert f"summary   {path / 'summary.md'}" in report
    with pytest.raises(train.RunError, match="already holds a run"):
        gradient_flow.run(config, workdir=path)
    assert gradient_flow.run(config, workdir=path, resume=True, notify=len).result == result


def test_floors_are_chance(finished):
    _, (_, result, _), _ = finished
    assert result["floors"]["adding_chance"] == pytest.approx(1 / 6)
    assert result["floors"]["copying_chance"] == pytest.approx(10 * np.log(8) / 21)
    assert result["floors"]["adding_window"] == pytest.approx((2 - 3 / 4) / 12)


def test_the_sentences_are_the_arrays(finished):
    _, (path, result, found), _ = finished
    arrays = np.load(path / "arrays.npz")
    metrics = result["metrics"]
    slopes = {}
    for init in ("radius_0.5", "radius_1.5"):
        norms = arrays[f"rnn/{init}/30/norm_hidden"].astype(float)
        assert norms.shape == (2, 30, 4)
        logs = np.log(norms[:, ::-1])
        each = [np.median(np.polyfit(np.arange(30), of_seed, 1)[0]) for of_seed in logs]
        slopes[init] = np.mean(each)
        metric = metrics[f"log_slope_hidden/rnn/{init}/30"]
        np.testing.assert_allclose(metric["per_seed"], each, rtol=1e-3, atol=1e-5)
        assert f"{metric['mean']:.3g} (" in found[0]
    # Gradients vanish at radius 0.5 (no slower than the radius itself), and explode at 1.5 or not
    # as the array says; never do they vanish faster there.
    assert slopes["radius_0.5"] < np.log(0.5) + 0.02 < 0
    assert slopes["radius_1.5"] > slopes["radius_0.5"]
    assert "Gradients vanish at radius 0.5" in found[0]
    for which in ("clipped", "unclipped"):
        losses = arrays[f"clipping/{which}/train_losses"]
        spikes = (~(losses <= 10 / 6)).sum(axis=1)
        np.testing.assert_array_equal(metrics[f"spikes/{which}"]["per_seed"], spikes)
    last = arrays["adding/lstm/forget_1/test_losses"][:, -1]
    np.testing.assert_allclose(metrics["test_mse/adding/lstm/forget_1"]["per_seed"], last)


def test_online_gradients(finished):
    """A cell has the metrics of the methods that it takes, and a sentence says them."""
    _, (path, result, found), _ = finished
    metrics, arrays = result["metrics"], np.load(path / "arrays.npz")
    for name in (
        "cosine_snap1/rnn/radius_0.5",
        "cosine_rflo/rnn/radius_0.5",
        "ratio_snap1/lstm/forget_1",
    ):
        cell, _, init = name.partition("/")[2].partition("/")
        values = metrics[f"online_{name}"]["per_seed"]
        np.testing.assert_array_equal(
            values, arrays[f"{cell}/{init}/online_{name.partition('/')[0]}"]
        )
        assert all(0 < value < 1.5 for value in values)
    assert "online_cosine_rflo/lstm/forget_1" not in metrics
    told = next(paragraph for paragraph in found if "Online gradients, rflo" in paragraph)
    assert f"{metrics['online_cosine_rflo/rnn/radius_0.5']['mean']:.3g} (" in told
    with pytest.raises(command_line.ConfigError, match="--online must be among rtrl, snap1"):
        gradient_flow.Config(online="bptt")


def test_an_explosion_is_called_one_only_where_it_is(finished):
    config, (_, result, _), _ = finished
    name = "log_slope_hidden/rnn/radius_1.5/30"
    for mean, verdict in (
        (0.2, "They explode at radius 1.5"),
        (-0.2, "does not show them explode"),
    ):
        changed = {"mean": mean, "ci95": [mean - 0.01, mean + 0.01], "per_seed": [mean, mean]}
        told = findings(config, {**result["metrics"], name: changed})
        assert verdict in told[0]


def test_slopes_of_a_small_network_bracket_zero():
    """At the origin the slope is the logarithm of the spectral radius."""
    for radius in (0.5, 1.5):
        cell = grid.build_cell(grid.Point("rnn", f"radius_{radius}"), 6, 10)
        params = cell.init(jax.random.key(0), 2)
        direction = jnp.full(6, 6**-0.5)
        measured = jax.jit(measure._at_length(cell))(params, jnp.zeros((8, 1, 2)), direction)
        norms = np.asarray(measured["norm_hidden"])[:, 0]
        np.testing.assert_allclose(np.diff(np.log(norms[::-1])), np.log(radius), rtol=1e-4)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(
            point,
            id=point.label,
            marks=() if point.cell in SHORT_LIST else pytest.mark.extended,
        )
        for point in grid.make_grid(
            grid.CELLS, ["radius_1", "identity", "forget_0", "default", "chrono"]
        )
    ],
)
def test_every_point_can_be_measured(point):
    cell = grid.build_cell(point, 4, 10)
    params = jax.eval_shape(lambda key: cell.init(key, 2), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((10, 3, 2), jnp.float32)
    found = jax.eval_shape(measure._structure(cell, point, 2), params, xs)
    # Real numbers of a state: complex ones count twice, booleans not at all.
    counted = {"f": 1, "c": 2, "b": 0}
    size = sum(counted[leaf.dtype.kind] * leaf.size for leaf in cell.initial_state(params))
    assert found["log_singular_values"].shape == (4, 2, size)
    assert found["lyapunov"].shape == (2, size)
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in found.values())
    gated = isinstance(cell, GatedCell)
    keeps = isinstance(cell, LinearCell) or (gated and not cell.rowwise)
    assert ("time_scale" in found) == (keeps and point.cell != "rnn")
    assert ("spectral_radius" in found) == (gated and cell.heads > 0)
    known = point.cell in measure._SQUASHING and point.init != "identity"
    has_gates = known or isinstance(cell, LinearCell)
    assert any(name.startswith("histogram_") for name in found) == has_gates


@pytest.mark.extended
def test_complex_and_boolean_states(tmp_path):
    """A run of the cells whose state is complex, has a boolean field, or no recurrent kernel."""
    cells = "lru,rg_lru,slstm,sru"
    changes = {"cells": cells, "inits": "default", "lengths": "10", "tasks": "adding"}
    config = gradient_flow.Config(
        **{**SMALL, **changes, "train_inits": "default", "hidden_size": 4}
    )
    result = gradient_flow.run(config, workdir=tmp_path / "run", notify=len).result
    arrays, metrics = np.load(tmp_path / "run" / "arrays.npz"), result["metrics"]
    assert not any("fresh" in name for name in (*arrays, *metrics))
    assert all(arrays[name].dtype.kind in "fi" for name in arrays)
    for cell in cells.split(","):
        field = "cell" if cell == "sru" else "hidden"  # the state of `sru` has no `hidden`
        assert np.isfinite(arrays[f"{cell}/default/10/norm_{field}"]).all()
        assert np.isfinite(metrics[f"time_scale/{cell}/default"]["mean"])
        assert np.isfinite(metrics[f"test_mse/adding/{cell}/default"]["mean"])
    # Both exponents of a complex unit are the logarithm of its decay, whatever the inputs.
    for exponents, scales in zip(
        arrays["lru/default/lyapunov"][:, 0], arrays["lru/default/time_scale"], strict=True
    ):
        assert exponents.sum() == pytest.approx(2 * (-1 / scales).sum(), rel=1e-4)


def test_family_against_finite_differences(tmp_path):
    """The gradient of an input is the slope of the loss along it; the figure is drawn."""
    (slopes,) = measure_family(6, [3], ["gru"]).values()
    cell = seqjax.gru(family.SIZE)
    params = cell.init(jax.random.fold_in(jax.random.key(3), 0), 2)
    rng = np.random.default_rng([3, 6])
    xs = np.swapaxes(data.adding(rng, family.SIZE, 6).inputs, 0, 1)
    direction = rng.standard_normal(family.SIZE).astype(np.float32)
    norms = np.zeros(xs.shape[:2])
    last = jax.jit(lambda params, xs: seqjax.unroll(cell, params, xs)[0][-1])
    for step, feature in np.ndindex(6, 2):
        moved = xs + 1e-2 * np.eye(6)[step][:, None, None] * np.eye(2)[feature]
        back = xs - (moved - xs)
        ends = [last(params, each) @ direction for each in (moved, back)]
        norms[step] += ((ends[0] - ends[1]) / 2e-2) ** 2
    each = np.polyfit(np.arange(6), np.log(norms[::-1]) / 2, 1)[0]
    assert slopes == pytest.approx([np.median(each)], rel=0.02)
    draw_family({"gru": slopes, "min_gru": slopes - 1}, 6, tmp_path / "family.png")
    assert (tmp_path / "family.png").stat().st_size > 5000
    name, metric = next(iter(family.family_metrics({"gru": slopes}, 6).items()))
    assert (name, metric["mean"]) == ("log_slope_input/gru/6", pytest.approx(slopes[0]))


def test_jacobians_that_do_not_fit_are_refused(tmp_path):
    config = gradient_flow.Config(cells="mamba2", hidden_size=1024)
    with pytest.raises(command_line.ConfigError, match="the Jacobians of mamba2 with --hid"):
        gradient_flow.run(config, workdir=tmp_path / "run")


def test_updates_to_threshold():
    tested = np.array([[0.5, 0.1, 0.3], [0.5, 0.5, np.nan]])
    run = training.Training(np.array([10, 20, 30]), tested, tested, tested, None)
    np.testing.assert_array_equal(training.updates_to_threshold(run, 0.2), [20, np.nan])


def test_window_floor_is_the_best_of_the_window():
    drawn = tasks.make_task(gradient_flow.Config(), "adding").draw(np.random.default_rng(0), 20_000)
    seen = drawn.inputs[:, -12:]
    known = np.where(seen[..., 1].any(axis=1), seen.prod(axis=-1).sum(axis=1), 0.5) + 0.5
    error = np.mean((drawn.targets[:, 0] - known) ** 2)
    assert error == pytest.approx(tasks.window_floor(60, 12), rel=0.03)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cells": "rnn,transformer"}, "--cells must be among rnn, lstm, gru, min_gru"),
        ({"cells": ""}, "--cells must be among"),
        ({"inits": "radius_x"}, "--inits must be among radius_R"),
        ({"inits": "radius_1"}, "lstm has none"),
        ({"lengths": "10,x"}, "--lengths must be whole numbers from 4 on"),
        ({"family_length": 1}, "--family_length must be 0 or at least 2, got 1"),
        ({"hidden_size": 1}, "--hidden_size must be at least 2"),
        ({"eval_every": 7}, "--eval_every must divide --steps=1500"),
        ({"window": 31}, "--window must be at most half of --adding_length=60"),
        ({"threshold": 0.0}, "--threshold must be above 0"),
        ({"jacobian_examples": 64}, "--jacobian_examples must be at most --batch_size=32"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(command_line.ConfigError, match=message):
        gradient_flow.Config(**changes)


def test_command_repeats_the_run():
    config = gradient_flow.Config(cells="lstm", seeds=1)
    assert command(config) == "python -m experiments.gradient_flow --cells=lstm --seeds=1"


@pytest.mark.parametrize(
    ("flags", "part"),
    [(["--cell=transformer"], "--cells must be among"), (["--celz=rnn"], "celz")],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, flags, part):
    flags = (f"--workdir={tmp_path}", *flags)
    assert part in programs.refusal("gradient_flow", *flags, said=tmp_path / "said")
