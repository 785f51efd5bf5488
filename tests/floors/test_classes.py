import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqjax import floors
from seqjax.floors._classes import majority_class, segment_means


def blobs(seed, number=60, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(number) % classes)
    centres = 8 * rng.normal(size=(classes, 4))
    return centres[labels] + rng.normal(size=(number, 4)), labels


@given(st.integers(0, 50))
def test_nearest_mean_is_the_nearest(seed):
    x, labels = blobs(seed)
    found = floors.fit_nearest_mean(x, labels)(x)
    standard = (x - x.mean(0)) / x.std(0)
    means = np.stack([standard[labels == c].mean(0) for c in range(3)])
    wanted = np.linalg.norm(standard[:, None] - means[None], axis=2).argmin(1)
    np.testing.assert_array_equal(found, wanted)


def test_a_feature_that_does_not_vary_says_nothing():
    x, labels = blobs(0)
    same = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    np.testing.assert_array_equal(
        floors.fit_nearest_mean(same, labels)(same), floors.fit_nearest_mean(x, labels)(x)
    )


def test_ridge_tells_apart_what_a_line_can():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    labels = (x @ rng.normal(size=5) > 0).astype(int)
    ridge = floors.fit_ridge_classes(x[:120], labels[:120], x[120:160], labels[120:160])
    assert (ridge(x[160:]) == labels[160:]).mean() > 0.85


def test_majority():
    assert majority_class(np.array([1, 1, 0, 2, 2])) == 1


@given(st.integers(1, 30), st.integers(1, 9))
def test_segment_means(steps, number):
    xs = np.random.default_rng(0).normal(size=(steps, 2))
    found = segment_means(xs, number).reshape(number, 2)
    assert found.shape == (number, 2)
    assert np.isfinite(found).all()
    if steps % number == 0:
        np.testing.assert_allclose(found, xs.reshape(number, -1, 2).mean(1))
    assert (found <= xs.max(0) + 1e-12).all()
