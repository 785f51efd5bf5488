"""Half-cheetah, ETT and sequential MNIST: splits as published, faults in one line."""

import os

import numpy as np
import pytest

from seqjax import data, floors


@pytest.fixture
def cheetah(tmp_path):
    """Traces of a made-up robot, each of a number of its own."""
    folder = tmp_path / "half_cheetah"
    folder.mkdir()
    for number in range(31):
        steps = np.arange(1000)[:, None] * 100.0 + np.arange(17)
        np.save(folder / f"trace_{number:04d}.npy", steps + 1e6 * number)
    return tmp_path


@pytest.fixture
def ett(tmp_path):
    rows = np.random.default_rng(0).normal(3.0, 2.0, (15_000, 7)).round(3)
    rows[8640:] += 5  # nothing of it may reach the mean
    lines = [f"2016-07-01,{','.join(map(str, row))}" for row in rows.tolist()]
    (tmp_path / "ETTh1.csv").write_text(
        "\n".join(["date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT", *lines])
    )
    return tmp_path, rows


def test_half_cheetah(cheetah, monkeypatch):
    splits = data.load_half_cheetah(cheetah)
    counts = {"train": range(15, 25), "validation": range(5), "test": range(5, 15)}
    for name, numbers in counts.items():
        part = getattr(splits, name)
        assert part.inputs.shape == part.targets.shape == (97 * len(numbers), 32, 17)
        starts = [1e6 * number + 1000.0 * i for number in numbers for i in range(97)]
        assert part.inputs[:, 0, 0].tolist() == starts
        np.testing.assert_array_equal(part.targets[:, :-1], part.inputs[:, 1:])
        assert (part.targets[:, -1, 0] == part.inputs[:, -1, 0] + 100).all()
    monkeypatch.setenv("SEQJAX_DATA_DIR", str(cheetah / "half_cheetah"))
    assert data.load_half_cheetah().test.sha256 == splits.test.sha256


def test_half_cheetah_faults(cheetah, tmp_path, monkeypatch):
    monkeypatch.delenv("SEQJAX_DATA_DIR", raising=False)
    trace = cheetah / "half_cheetah" / "trace_0007.npy"

    def refused(message, data_dir=cheetah):
        with pytest.raises(data.DataError, match=message) as error:
            data.load_half_cheetah(data_dir)
        assert "\n" not in str(error.value)

    np.save(trace, np.ones((1000, 16)))
    refused(r"trace_0007.npy must hold finite numbers of shape \(steps, 17\), got shape \(1000, 16")
    trace.write_bytes(b"nonsense")
    refused("trace_0007.npy is damaged: .*Copy it again")
    trace.unlink()
    refused("no such file: .*trace_0007.npy")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("must hold half_cheetah/trace_0000.npy, but .* does not", empty)
    refused("'/nowhere' is not a folder", "/nowhere")
    refused("must be given with --data_dir or SEQJAX_DATA_DIR, got neither", None)


@pytest.mark.parametrize(("lookback", "horizon"), [(96, 96), (336, 720)])
def test_ett(ett, lookback, horizon):
    folder, rows = ett
    loaded = data.load_ett(folder, lookback=lookback, horizon=horizon)
    train = rows[:8640]
    np.testing.assert_allclose(loaded.mean, train.mean(0))
    np.testing.assert_allclose(loaded.std, train.std(0))
    scaled = (rows - train.mean(0)) / train.std(0)
    for part, first, last in zip(
        loaded.splits, (lookback, 8640, 11520), (8640, 11520, 14400), strict=True
    ):
        assert len(part.inputs) == last - first - horizon + 1
        np.testing.assert_allclose(part.inputs[0], scaled[first - lookback : first], atol=1e-5)
        np.testing.assert_allclose(part.targets[0], scaled[first : first + horizon], atol=1e-5)
        np.testing.assert_allclose(part.targets[-1], scaled[last - horizon : last], atol=1e-5)


def test_ett_faults(ett):
    folder, _ = ett
    lines = (folder / "ETTh1.csv").read_text().split("\n")
    with pytest.raises(data.DataError, match="lookback must be at most the 8640 training rows"):
        data.load_ett(folder, lookback=9000)
    with pytest.raises(data.DataError, match=r"at least lookback \+ horizon"):
        data.load_ett(folder, horizon=3000)
    with pytest.raises(data.DataError, match=r"`name` must be ETTh1, .* got 'ETTh3'"):
        data.load_ett(folder, name="ETTh3")
    with pytest.raises(data.DataError, match=r"must hold ett/ETTm1.csv, but"):
        data.load_ett(folder, name="ETTm1")
    (folder / "ETTh1.csv").write_text("\n".join(lines[:14_000]))
    with pytest.raises(data.DataError, match="at least 14400 rows, 20 months, got 13999"):
        data.load_ett(folder)
    lines[5] = lines[5].rsplit(",", 1)[0] + ",hot"
    (folder / "ETTh1.csv").write_text("\n".join(lines))
    with pytest.raises(data.DataError, match=r"row 6, column 8 \(OT\): a number is .* got 'hot'"):
        data.load_ett(folder)


def test_mnist_faults(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(data.DataError, match=r"must hold mnist/3.0.1, MNIST as TFDS prepares it"):
        data.load_sequential_mnist()
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").write_text("{")
    with pytest.raises(data.DataError, match=r"mnist/3.0.1 is damaged: .* Copy it again") as error:
        data.load_sequential_mnist(tmp_path)
    assert "\n" not in str(error.value)


def real(folder):
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not os.path.exists(os.path.join(root, folder)):
        pytest.skip(f"SEQJAX_DATA_DIR holds no {folder}")
    return root


def test_real_half_cheetah_and_its_floors():
    splits = data.load_half_cheetah(real("half_cheetah"))

    def error(predictions):
        return np.mean((predictions - splits.test.targets) ** 2)

    assert error(splits.train.targets.mean((0, 1))) == pytest.approx(17.47, abs=0.01)
    assert error(splits.test.inputs) == pytest.approx(62.87, abs=0.01)
    for num_lags, wanted in ((1, 3.432), (4, 3.138)):
        x, y = floors.lagged(splits.train.inputs, num_lags), splits.train.targets
        x, y = x.reshape(-1, 17 * num_lags), y.reshape(-1, 17)
        fitted = floors.fit_ridge(x, y, x, y, regularisations=(0.0,))
        found = error(fitted(floors.lagged(splits.test.inputs, num_lags)))
        assert found == pytest.approx(wanted, abs=0.001)


def test_real_ett_and_its_floors():
    root = real("ett/ETTh1.csv")
    splits = data.load_ett(root, lookback=336, horizon=96).splits
    assert [len(part.inputs) for part in splits] == [8209, 2785, 2785]

    def error(predictions):
        return np.mean((predictions - splits.test.targets) ** 2)

    assert error(floors.persistence(splits.test.inputs, 96)) == pytest.approx(1.294, abs=0.001)
    assert error(floors.seasonal(splits.test.inputs, 96, 24)) == pytest.approx(0.512, abs=0.001)
    examples = [(part.inputs, part.targets) for part in splits]
    fitted = floors.fit_ridge_forecast(examples[0], examples[1])
    found = error(fitted(splits.test.inputs))
    assert found == pytest.approx(0.370, abs=0.001)


@pytest.mark.slow
def test_real_mnist():
    root = os.environ.get("TFDS_DATA_DIR", "")
    if not os.path.exists(os.path.join(root, "mnist")):
        pytest.skip("TFDS_DATA_DIR holds no mnist")
    plain, permuted = (data.load_sequential_mnist(root, permutation_seed=s) for s in (None, 1))
    assert [len(part.inputs) for part in plain] == [55_000, 5_000, 10_000]
    assert plain.test.targets[:5].tolist() == [2, 0, 4, 8, 7]
    order = np.random.default_rng(1).permutation(784)
    np.testing.assert_array_equal(permuted.test.inputs[:9], plain.test.inputs[:9, order])
