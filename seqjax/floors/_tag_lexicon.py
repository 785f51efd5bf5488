"""Tags by counting: the most frequent tag of a word, and of the endings of words never seen."""

import collections
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seqjax.data._checks import check_pair

_LONGEST_ENDING = 5


class TagLexicon(NamedTuple):
    """The most frequent tag of every word and ending of the training part; see `fit_tag_lexicon`.

    Attributes:
      words: tag of each word, as written and in lower case.
      endings: tag of each ending in lower case; that of the empty one is the most frequent of all.
    """

    words: dict[str, str]
    endings: dict[str, str]

    @property
    def majority(self) -> str:
        """The most frequent tag of all."""
        return self.endings[""]

    def tag(self, word: str) -> str:
        """Returns the tag of a word: as written, in lower case, or by its longest known ending."""
        lower = word.lower()
        found = self.words.get(word) or self.words.get(lower)
        if found is not None:
            return found
        endings = (lower[max(len(lower) - size, 0) :] for size in range(_LONGEST_ENDING, 0, -1))
        known = (self.endings[ending] for ending in endings if ending in self.endings)
        return next(known, self.majority)


def fit_tag_lexicon(sentences: Iterable[tuple[Sequence[str], Sequence[str]]]) -> TagLexicon:
    """Counts which tag is the most frequent one of each word and of each ending.

    Endings have up to five letters and are counted over different words, so that a frequent one
    does not speak for all that rhyme with it. Of tags equally frequent the one met first is taken.

    Args:
      sentences: words and as many tags of each.

    Returns:
      The lexicon.

    Raises:
      ValueError: if there is no word, or a sentence has not as many tags as words.

    Example:
      >>> lexicon = fit_tag_lexicon([(["The", "nation", "slept"], ["DET", "NOUN", "VERB"])])
      >>> [lexicon.tag(word) for word in ("the", "ovation", "kept")]
      ['DET', 'NOUN', 'VERB']

    Reference: Brants (2000), TnT: a statistical part-of-speech tagger (unknown words by endings).
    """
    words: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    everything: collections.Counter[str] = collections.Counter()
    kinds = set()
    for sentence, tags in sentences:
        check_pair("fit_tag_lexicon", words=sentence, tags=tags)
        for word, tag in zip(sentence, tags, strict=True):
            for form in {word, word.lower()}:
                words[form][tag] += 1
            everything[tag] += 1
            kinds.add((word.lower(), tag))
    if not everything:
        raise ValueError("fit_tag_lexicon: there must be at least one word, got none.")
    endings: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for word, tag in sorted(kinds):
        for size in range(1, min(_LONGEST_ENDING, len(word)) + 1):
            endings[word[-size:]][tag] += 1
    return TagLexicon(
        {word: counts.most_common(1)[0][0] for word, counts in words.items()},
        {ending: counts.most_common(1)[0][0] for ending, counts in endings.items()}
        | {"": everything.most_common(1)[0][0]},
    )
