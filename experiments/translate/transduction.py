"""A small made-up language and its translation: words, order and agreement differ.

The source says subject, verb, object, with adjectives before their noun; the translation puts the
verb last and adjectives behind their noun, article and adjectives take the ending of the noun's
class, and a plural is a word of its own in the source and an ending in the translation. A lexicon
cannot get it right: the same source word has several translations, and not in its place.
"""

import random

from seqjax.data._errors import DataError
from seqjax.data._parallel_text import Pairs, ParallelText

# Noun to its translation and class.
NOUNS = {
    "dog": ("bel", "a"), "cat": ("mirr", "o"), "bird": ("tiv", "o"), "child": ("san", "a"),
    "woman": ("lur", "a"), "man": ("dor", "o"), "horse": ("kav", "o"), "boat": ("nel", "a"),
    "house": ("hem", "a"), "tree": ("pir", "o"), "ball": ("gol", "a"), "book": ("rit", "o"),
}  # fmt: skip
ADJECTIVES = {
    "red": "ruv", "small": "min", "old": "ved", "green": "zel", "young": "jun", "happy": "let",
}  # fmt: skip
VERBS = {
    "sees": "vidu", "carries": "portu", "paints": "pintu", "follows": "sekvu", "likes": "amu",
    "holds": "tenu",
}  # fmt: skip
ADVERBS = {"today": "nun", "often": "multe", "never": "nel"}
ARTICLES = {"the": "d", "a": "un"}


def generate_translations(
    num_train: int = 2000, num_test: int = 200, seed: int = 0
) -> ParallelText:
    """Generates pairs of 5 to 12 words.

    Args:
      num_train: training pairs.
      num_test: pairs of the validation part, and of the test part.
      seed: the same seed gives the same pairs.

    Returns:
      The pairs; no source of one part stands in another.

    Raises:
      DataError: if a number is below 1.

    Example:
      >>> pairs = generate_translations(2, 1).train
      >>> pairs.sources[0], pairs.targets[0]  # doctest: +SKIP
      ('the red dog sees a cat today', 'nun da bela ruva uno mirro vidu')
    """
    for name, number in (("num_train", num_train), ("num_test", num_test)):
        if number < 1:
            raise DataError(f"generate_translations: `{name}` must be at least 1, got {number}.")
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < num_train + 2 * num_test:
        source, target = _sentence(rng)
        found.setdefault(source, target)
    sources, targets = list(found), list(found.values())
    parts = [slice(None, num_train), slice(num_train, num_train + num_test)]
    parts.append(slice(num_train + num_test, None))
    return ParallelText("generated", *(Pairs(sources[part], targets[part]) for part in parts))


def _sentence(rng: random.Random) -> tuple[str, str]:
    verb = rng.choice(list(VERBS))
    subject, subject_target = _noun_phrase(rng)
    object, object_target = _noun_phrase(rng)
    source, target = [*subject, verb, *object], [*subject_target, *object_target, VERBS[verb]]
    if rng.random() < 0.5:
        adverb = rng.choice(list(ADVERBS))
        source, target = [*source, adverb], [ADVERBS[adverb], *target]
    return " ".join(source), " ".join(target)


def _noun_phrase(rng: random.Random) -> tuple[list[str], list[str]]:
    article, noun = rng.choice(list(ARTICLES)), rng.choice(list(NOUNS))
    adjectives = rng.sample(list(ADJECTIVES), rng.choice((0, 1, 1, 2)))
    many = ["many"] if rng.random() < 0.2 else []
    stem, ending = NOUNS[noun]
    ending += "j" if many else ""
    source = [article, *many, *adjectives, noun]
    target = [ARTICLES[article] + ending, stem + ending]
    return source, target + [ADJECTIVES[adjective] + ending for adjective in reversed(adjectives)]
