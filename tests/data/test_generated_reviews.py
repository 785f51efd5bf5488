import re
from collections import Counter

import numpy as np
import pytest

from seqjax.data import DataError, build_vocabulary, generate_reviews
from seqjax.data._generated_reviews import WORDS
from seqjax.floors import fit_naive_bayes_logistic

DENIALS = ("never", "not", "nobody", "hardly")


@pytest.fixture(scope="module")
def reviews():
    return generate_reviews(4000, 1000)


def judge(text: str) -> int:
    """Reads a review as a human does: finds each main clause, and who is denied in it."""
    verdicts = set()
    for sentence in re.split(r"(?<=\.) ", text.lower().replace("even though", "although")):
        clauses = re.split(r", (?:and )?", sentence.rstrip("."))
        if ", but " in sentence:
            clauses = [sentence.split(", but ")[1]]
        for clause in clauses:
            words = set(re.findall(r"[a-z]+", clause))
            if "although" in words:
                continue
            value = len(words & {*WORDS["good"], *WORDS["triumph"]}) - len(
                words & {*WORDS["bad"], *WORDS["disaster"]}
            )
            if value:
                verdicts.add(value if not words & set(DENIALS) else -value)
    (verdict,) = verdicts  # no review contradicts itself
    return int(verdict > 0)


def test_the_rule_decides_every_label(reviews):
    assert [judge(text) for text in reviews.train_texts] == reviews.train_labels.tolist()
    assert [judge(text) for text in reviews.test_texts] == reviews.test_labels.tolist()


def test_every_word_is_as_frequent_under_both_labels(reviews):
    counts = [Counter(), Counter()]
    for text, label in zip(reviews.train_texts, reviews.train_labels, strict=True):
        counts[label].update(re.findall(r"\w+|[.,]", text.lower()))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("order", "limit"), [(1, 0.60), (2, 0.85)])
def test_short_phrases_do_not_solve_it(reviews, order, limit):
    vocabulary = build_vocabulary(reviews.train_texts, 10_000)
    model = fit_naive_bayes_logistic(
        vocabulary.encode(reviews.train_texts), reviews.train_labels, order
    )
    assert model.accuracy(vocabulary.encode(reviews.test_texts), reviews.test_labels) <= limit


def test_sizes_balance_and_lengths(reviews):
    assert len(reviews.train_texts) == 4000
    assert len(reviews.test_texts) == 1000
    assert reviews.train_labels.mean() == reviews.test_labels.mean() == 0.5
    assert reviews.train_labels.dtype == np.int32
    lengths = [len(text.split()) for text in reviews.train_texts + reviews.test_texts]
    assert min(lengths) >= 10
    assert max(lengths) <= 80
    assert np.std(lengths) > 8
    assert not set(reviews.train_texts) & set(reviews.test_texts)


def test_the_seed_decides():
    assert generate_reviews(20, 10).sha256 == generate_reviews(20, 10).sha256
    assert generate_reviews(20, 10, seed=1).sha256 != generate_reviews(20, 10).sha256


@pytest.mark.parametrize("number", [0, 3, -2])
def test_odd_numbers_are_refused(number):
    with pytest.raises(DataError, match="`num_test` must be even and at least 2"):
        generate_reviews(2, number)
