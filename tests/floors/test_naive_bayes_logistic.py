import itertools

import numpy as np
import pytest

from experiments.imdb.ragged import Ragged
from seqjax.floors import fit_naive_bayes_logistic
from seqjax.floors._naive_bayes_logistic import NGrams


def random_texts(number=40, seed=0):
    rng = np.random.default_rng(seed)
    texts = [rng.integers(0, 6, rng.integers(0, 12)) for _ in range(number)]
    return texts, rng.permutation(np.arange(number) % 2)


def grams(text, order):
    starts = range(len(text) - order + 1)
    return [tuple(text[start : start + order].tolist()) for start in starts]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ngrams_equal_a_plain_loop(order):
    texts, _ = random_texts()
    others, _ = random_texts(seed=1)
    others[0] = np.array([7, 1, 99, 2, 3])  # tokens never seen in training
    ngrams = NGrams.learn(texts, order)
    known = []
    for length in range(1, order + 1):
        every = sorted(itertools.chain.from_iterable(grams(text, length) for text in texts))
        known += [gram for gram, copies in itertools.groupby(every) if len(list(copies)) >= 2]
    for sample in (texts, others, Ragged.from_arrays(others)):
        expected = [[gram in grams(text, len(gram)) for gram in known] for text in sample]
        np.testing.assert_array_equal(ngrams.presence(sample).toarray(), expected)


def test_solution_has_zero_gradient():
    texts, labels = random_texts()
    model = fit_naive_bayes_logistic(texts, labels, 2, l2=0.5)
    presence = model.ngrams.presence(texts).toarray().astype(np.float64)
    positive, negative = (1 + presence[labels == label].sum(0) for label in (1, 0))
    ratio = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    probability = 1 / (1 + np.exp(-(presence @ model.weights + model.bias)))
    gradient = ratio * (presence.T @ (probability - labels)) + 0.5 * model.weights / ratio
    np.testing.assert_allclose(gradient, 0, atol=0.02)
    assert abs(np.sum(probability - labels)) < 0.02


def test_word_order_needs_bigrams():
    texts = [np.array(text) for text in ([2, 3, 4], [4, 3, 2])] * 10
    labels = np.array([1, 0] * 10)
    assert fit_naive_bayes_logistic(texts, labels, 1).accuracy(texts, labels) == 0.5
    model = fit_naive_bayes_logistic(texts, labels, 2)
    assert model.accuracy(texts, labels) == 1.0
    assert model.logits(texts[:3]).shape == (3,)
    assert model.logits([np.array([], int)])[0] == pytest.approx(model.bias)


def test_mistakes_are_named():
    texts, labels = random_texts()
    with pytest.raises(ValueError, match=r"for each of the 40 sequences, got shape \(39,\)"):
        fit_naive_bayes_logistic(texts, labels[1:], 1)
    with pytest.raises(ValueError, match="`labels` must be 0 or 1"):
        fit_naive_bayes_logistic(texts, labels + 1, 1)
    with pytest.raises(ValueError, match="must hold both 0 and 1"):
        fit_naive_bayes_logistic(texts, labels * 0, 1)
    with pytest.raises(ValueError, match="`order` must be an integer of at least 1, got 0"):
        fit_naive_bayes_logistic(texts, labels, 0)
    with pytest.raises(ValueError, match=r"`l2` must be finite and above 0, got 0"):
        fit_naive_bayes_logistic(texts, labels, 1, l2=0.0)
