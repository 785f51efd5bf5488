"""Word-by-word translation: each word's most probable counterpart, learnt from sentence pairs."""

from collections.abc import Sequence

import numpy as np

from seqjax._checks import check_sizes
from seqjax.data._checks import check_pair, check_texts


class TranslationLexicon:
    """A translation of each source word, whatever stands around it; see `fit_translation_lexicon`.

    Attributes:
      translations: source word to target word.
    """

    def __init__(self, translations: dict[str, str]):
        """Takes the translations."""
        self.translations = translations

    def translate(self, sentence: str) -> str:
        """Translates word by word, in the order of the source; an unknown word stays as it is."""
        return " ".join(self.translations.get(word, word) for word in sentence.split())


def fit_translation_lexicon(
    sources: Sequence[str], targets: Sequence[str], *, iterations: int = 5
) -> TranslationLexicon:
    """Learns which word translates which, by expectation-maximisation (IBM model 1).

        p(f | e) ~ sum over pairs of  count(f) p(f | e) / sum over e' in the source of p(f | e')

    A target word may come from a source word or from none; all are equally probable at first, so
    that the first iteration counts in how many pairs two words occur together.

    Args:
      sources: sentences, words set apart by spaces.
      targets: their translations.
      iterations: of the algorithm; each makes the training pairs more probable.

    Returns:
      For each source word its most probable translation.

    Raises:
      ValueError: if the numbers of sentences differ or there is no pair of words.

    Example:
      >>> english, german = ["the dog", "the cat", "a dog"], ["der hund", "der kater", "ein hund"]
      >>> fit_translation_lexicon(english, german).translate("a cat")
      'ein kater'

    Reference: Brown et al. (1993), The mathematics of statistical machine translation.
    """
    for name, texts in (("sources", sources), ("targets", targets)):
        check_texts("fit_translation_lexicon", name, texts)
    check_pair("fit_translation_lexicon", sources=sources, targets=targets)
    check_sizes("fit_translation_lexicon", iterations=iterations)
    source_ids, target_ids = {"": 0}, {}  # the empty word stands in every source
    pairs, places = [], []
    number = 0  # of target words so far
    for source, target in zip(sources, targets, strict=True):
        words = np.array([0] + [source_ids.setdefault(w, len(source_ids)) for w in source.split()])
        others = np.array([target_ids.setdefault(w, len(target_ids)) for w in target.split()], int)
        pairs.append(np.stack(np.meshgrid(words, others, indexing="ij")).reshape(2, -1))
        places.append(number + np.tile(np.arange(len(others)), len(words)))
        number += len(others)
    if not number or len(source_ids) == 1:
        raise ValueError(
            "fit_translation_lexicon: there must be a pair of sentences with words, got none."
        )
    words, others = np.concatenate(pairs, axis=1)
    place = np.concatenate(places)  # which target word of which pair an entry is about
    entries, entry = np.unique(words * len(target_ids) + others, return_inverse=True)
    given, translated = entries // len(target_ids), entries % len(target_ids)
    probabilities = np.ones(len(entries))
    for _ in range(iterations):
        shares = probabilities[entry]
        shares /= np.bincount(place, shares, number)[place]
        counts = np.bincount(entry, shares, len(entries))
        probabilities = counts / np.bincount(given, counts)[given]
    # The last entry of a word, in order of probability, is its best.
    order = np.lexsort((-translated, probabilities, given))
    last = order[np.append(np.diff(given[order]) > 0, True)]
    source_words, target_words = list(source_ids), list(target_ids)
    return TranslationLexicon(
        {
            source_words[given[index]]: target_words[translated[index]]
            for index in last
            if given[index]  # the empty word is translated by nothing
        }
    )
