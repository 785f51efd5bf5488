"""The lexicon against the algorithm written out in loops, and on pairs whose answer is known."""

import collections

import numpy as np
import pytest

from seqjax.floors import fit_translation_lexicon


def model_one(sources, targets, iterations):
    """IBM model 1 as the paper has it, in dictionaries."""
    sources = [["", *source.split()] for source in sources]
    targets = [target.split() for target in targets]
    table = collections.defaultdict(lambda: 1.0)
    for _ in range(iterations):
        counts, totals = collections.Counter(), collections.Counter()
        for source, target in zip(sources, targets, strict=True):
            for other in target:
                normaliser = sum(table[word, other] for word in source)
                for word in source:
                    counts[word, other] += table[word, other] / normaliser
                    totals[word] += table[word, other] / normaliser
        table = {pair: count / totals[pair[0]] for pair, count in counts.items()}
    return table


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_against_loops(iterations):
    rng = np.random.default_rng(0)
    sources, targets = (
        [" ".join(rng.choice(words, rng.integers(1, 6))) for _ in range(30)]
        for words in (list("abcdef"), list("uvwxyz"))
    )
    table = model_one(sources, targets, iterations)
    found = fit_translation_lexicon(sources, targets, iterations=iterations).translations
    assert set(found) == {word for source in sources for word in source.split()}
    for word, other in found.items():
        best = max(value for (given, _), value in table.items() if given == word)
        assert table[word, other] == pytest.approx(best, rel=1e-9)


def test_words_are_told_apart_by_where_else_they_stand():
    lexicon = fit_translation_lexicon(
        ["the dog", "the cat", "a dog", "a cat sleeps"],
        ["der hund", "der kater", "ein hund", "ein kater schläft"],
    )
    assert lexicon.translate("a dog sleeps") == "ein hund schläft"
    assert lexicon.translate("the zebra") == "der zebra"
    assert lexicon.translate("") == ""


def test_errors():
    with pytest.raises(ValueError, match="must have one length, got 2 and 1"):
        fit_translation_lexicon(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="a pair of sentences with words, got none"):
        fit_translation_lexicon(["a", ""], ["", ""])
