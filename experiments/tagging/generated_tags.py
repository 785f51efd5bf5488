"""Tagged sentences made by a small grammar, in which a word alone does not tell its tag.

What does depends on the word:

- invented words end in -ly, -ous, -tion or -ize, and nearly every one is new: the suffix tells;
- `plan`, `walk` and their like are nouns after a determiner or adjective and verbs after a pronoun
  or `to`: the left neighbour tells;
- `that` is a determiner before a noun and a conjunction before a pronoun: the right one tells;
- `well`, the first word, is an interjection if the sentence ends in `!` and an adverb if it ends in
  `.`: the last word tells the first;
- `so`, before the last mark, is an adverb if the sentence begins with `well` and a pronoun if it
  does not: the first word tells the last but one.
"""

import random

from seqjax.data._conllu import TaggedSentence, TaggedSplits
from seqjax.data._errors import DataError

GENERATED_TAGS = (
    "ADJ", "ADP", "ADV", "DET", "INTJ", "NOUN", "PART", "PRON", "PUNCT", "SCONJ", "VERB",
)  # fmt: skip
"""Tags of `generate_tagged`."""

_EITHER = (
    "plan", "walk", "call", "play", "change", "answer", "watch", "work", "turn", "help", "visit",
    "move", "cook", "judge", "guide", "drink",
)  # fmt: skip
_NOUNS = ("dog", "house", "river", "teacher", "city", "song", "letter", "garden")
_VERBS = ("see", "find", "hear", "bring", "follow", "know")
_PRONOUNS = ("I", "you", "we", "they")
_PREPOSITIONS = ("in", "of", "with", "under")
_SUFFIXES = {"ADV": "ly", "ADJ": "ous", "NOUN": "tion", "VERB": "ize"}

_Words = list[tuple[str, str]]


def generate_tagged(
    num_train: int = 1000, num_validation: int = 200, num_test: int = 400, seed: int = 0
) -> TaggedSplits:
    """Generates tagged sentences of 4 to about 40 words.

    Args:
      num_train: training sentences, at least 1.
      num_validation: validation sentences, at least 1; each part has a stream of its own.
      num_test: test sentences, at least 1.
      seed: the same seed gives the same sentences.

    Returns:
      The sentences.

    Raises:
      DataError: if a number is below 1.

    Example:
      >>> sentence = generate_tagged(1, 1, 1).test[0]
      >>> len(sentence.words) == len(sentence.tags), sentence.tags[-1]
      (True, 'PUNCT')
    """
    parts = {"train": num_train, "validation": num_validation, "test": num_test}
    for name, number in parts.items():
        if number < 1:
            raise DataError(f"generate_tagged: `num_{name}` must be at least 1, got {number}.")
    streams = {name: random.Random(f"{seed} {name}") for name in parts}
    return TaggedSplits(
        "generated",
        *([_sentence(streams[name]) for _ in range(parts[name])] for name in parts),
    )


def _sentence(rng: random.Random) -> TaggedSentence:
    mark = rng.choice(".!")
    words = _clause(rng)
    begins_well = rng.random() < 0.5
    if begins_well:
        words = [("well", "INTJ" if mark == "!" else "ADV"), *words]
    if rng.random() < 0.5:
        words.append(("so", "ADV" if begins_well else "PRON"))
    words.append((mark, "PUNCT"))
    first, tag = words[0]
    words[0] = (first[0].upper() + first[1:], tag)
    return TaggedSentence(*zip(*words, strict=True))


def _clause(rng: random.Random) -> _Words:
    if rng.random() < 0.5:
        known = [_pronoun(rng), (rng.choice(_VERBS), "VERB")]
        if rng.random() < 0.5:  # you know that we plan the walk
            return [*known, ("that", "SCONJ"), *_clause_of_pronoun(rng)]
        return known + _noun_phrase(rng, "that")  # you know that walk
    if rng.random() < 0.5:
        return _clause_of_pronoun(rng)
    return [*_noun_phrase(rng), _verb(rng, after_noun=True), *_noun_phrase(rng)]


def _clause_of_pronoun(rng: random.Random) -> _Words:
    words = [_pronoun(rng)]
    if rng.random() < 0.3:
        words.append((_invented(rng, "ADV"), "ADV"))
        words.append(_verb(rng, after_noun=True))
    else:
        words.append(_verb(rng))
    if rng.random() < 0.3:
        words += [("to", "PART"), _verb(rng)]
    return words + _noun_phrase(rng)


def _noun_phrase(rng: random.Random, determiner: str | None = None) -> _Words:
    words = [(determiner or rng.choice(("the", "a", "that")), "DET")]
    if rng.random() < 0.3:
        words.append((_invented(rng, "ADJ"), "ADJ"))
    kind = rng.random()
    noun = rng.choice(_EITHER if kind < 0.5 else _NOUNS) if kind < 0.8 else _invented(rng, "NOUN")
    words.append((noun, "NOUN"))
    if rng.random() < 0.2:
        words += [(rng.choice(_PREPOSITIONS), "ADP"), *_noun_phrase(rng)]
    return words


def _pronoun(rng: random.Random) -> tuple[str, str]:
    return rng.choice(_PRONOUNS), "PRON"


def _verb(rng: random.Random, *, after_noun: bool = False) -> tuple[str, str]:
    kind = rng.random()
    if kind < 0.5 and not after_noun:  # elsewhere nothing beside it would tell it from a noun
        return rng.choice(_EITHER), "VERB"
    return (rng.choice(_VERBS) if kind < 0.8 else _invented(rng, "VERB")), "VERB"


def _invented(rng: random.Random, tag: str) -> str:
    syllables = (
        rng.choice("bdfgklmnprstv") + rng.choice("aeiou") for _ in range(rng.randint(2, 3))
    )
    return "".join(syllables) + _SUFFIXES[tag]
