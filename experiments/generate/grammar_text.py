"""A generated text: sentences of a small grammar, whose entropy is known."""

import numpy as np

_NUMBERS = ("singular", "plural")
_DETERMINERS = {"singular": ("a", "every"), "plural": ("all", "two")}
_NOUNS = {"singular": ("cat", "dog", "child"), "plural": ("cats", "dogs", "children")}
_VERBS = {"singular": ("sees", "hears"), "plural": ("see", "hear")}
_RELATIVE = 0.3  # how often a subject has a relative clause between itself and its verb


def grammar_text(rng: np.random.Generator, num_sentences: int) -> str:
    """Draws sentences in which a verb agrees with its subject, however far away that is.

        sentence -> subject verb object "." newline
        subject -> phrase | phrase "that" verb phrase
        phrase -> determiner noun

    Args:
      rng: draws the numbers, words and clauses, each choice with equal chances but that of a
        clause (0.3).
      num_sentences: how many, one a line.

    Returns:
      The text.

    Example:
      >>> print(grammar_text(np.random.default_rng(1), 2), end="")
      every child that hears two cats sees all cats.
      all dogs see every child.
    """
    return "".join(_sentence(rng) for _ in range(num_sentences))


def _sentence(rng: np.random.Generator) -> str:
    subject, verb = _phrase(rng)
    if rng.random() < _RELATIVE:
        subject = f"{subject} that {_choice(rng, _VERBS[verb])} {_phrase(rng)[0]}"
    return f"{subject} {_choice(rng, _VERBS[verb])} {_phrase(rng)[0]}.\n"


def _phrase(rng: np.random.Generator) -> tuple[str, str]:
    number = _choice(rng, _NUMBERS)
    words = _choice(rng, _DETERMINERS[number]), _choice(rng, _NOUNS[number])
    return " ".join(words), number


def _choice(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def grammar_entropy() -> float:
    """Returns the entropy of a sentence in nats: what no model can go below.

    Example:
      >>> round(grammar_entropy(), 2)
      7.23
    """
    phrase = np.log(2) + np.log(2) + np.log(3)
    clause = -_RELATIVE * np.log(_RELATIVE) - (1 - _RELATIVE) * np.log(1 - _RELATIVE)
    sentence = 2 * phrase + np.log(2) + clause + _RELATIVE * (np.log(2) + phrase)
    return float(sentence)
