import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from experiments.features import segment_means
from seqjax import floors


def test_ridge_tells_apart_what_a_line_can():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    labels = (x @ rng.normal(size=5) > 0).astype(int)
    ridge = floors.fit_ridge_classes(x[:120], labels[:120], x[120:160], labels[120:160])
    assert (ridge(x[160:]) == labels[160:]).mean() > 0.85


@given(st.integers(1, 30), st.integers(1, 9))
def test_segment_means(steps, number):
    xs = np.random.default_rng(0).normal(size=(steps, 2))
    found = segment_means(xs, number).reshape(number, 2)
    assert found.shape == (number, 2)
    assert np.isfinite(found).all()
    if steps % number == 0:
        np.testing.assert_allclose(found, xs.reshape(number, -1, 2).mean(1))
    assert (found <= xs.max(0) + 1e-12).all()
