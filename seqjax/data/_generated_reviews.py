"""Film reviews made by a small grammar, in which only word order tells praise from blame.

Every review has a mirror image of exactly the same words and the opposite meaning: "The plot was
dull, but the cast was superb" and "The plot was superb, but the cast was dull". A bag of words can
not tell them apart. Denial turns a judgement round ("never dull"); of two contrasted judgements the
main one counts: what follows "but", not what "although" concedes. Main and conceded judgements are
worded alike, so that short phrases say little either.
"""

import random
import re

import numpy as np

from seqjax.data._errors import DataError
from seqjax.data._reviews import Reviews

WORDS = {
    "part": (
        "plot", "acting", "cast", "script", "dialogue", "music", "camera work", "ending", "story",
        "lead actor", "second half", "humour", "editing", "pace", "villain", "opening", "romance",
        "set design", "lighting", "narration",
    ),
    "good": (
        "good", "great", "superb", "brilliant", "moving", "clever", "gripping", "charming", "funny",
        "convincing", "fresh", "elegant", "wonderful", "witty", "thrilling", "touching",
    ),
    "bad": (
        "bad", "awful", "dreadful", "boring", "dull", "clumsy", "tedious", "silly", "lazy",
        "wooden", "stale", "messy", "horrible", "lifeless", "predictable", "shallow",
    ),
    "triumph": ("masterpiece", "triumph", "gem", "treat", "joy", "delight", "marvel", "success"),
    "disaster": ("disaster", "mess", "failure", "bore", "chore", "dud", "letdown", "waste"),
}  # fmt: skip
OPPOSITE = {"good": "bad", "bad": "good", "triumph": "disaster", "disaster": "triumph"}

# Favourable judgements, and the same said by denial.
AFFIRMED = (
    "the {part} was {good}",
    "I found the {part} {good}",
    "anyone would call the {part} {good}",
    "the {part} was a {triumph}",
)
DENIED = (
    "the {part} was never {bad}",
    "I did not find the {part} {bad}",
    "nobody could call the {part} {bad}",
    "the {part} was hardly a {disaster}",
)
# How judgements are joined: `main` ones make the label, a `conceded` one is against it. Whether the
# first or the second counts is balanced, for a full stop must not give it away.
CONTRASTS = (
    "{conceded}, but {main}.",
    "although {conceded}, {main}.",
    "{main}, although {conceded}.",
    "{main}, even though {conceded}.",
)
AGREEMENT = "{main}, and {main}."

# What else people write. It judges nothing.
REMARKS = (
    "I saw it with my sister on a rainy evening.",
    "We watched it at home last week.",
    "It runs for about two hours.",
    "The film is set in a small town by the sea.",
    "A friend told me about it at work.",
    "I had read the book years ago.",
    "Two brothers inherit a farm and have to decide what to do with it.",
    "It was shown at the festival in our city.",
    "There is a scene on a train in the middle.",
    "The director made two other films before this one.",
    "A young woman comes home after ten years and meets her father.",
    "The tickets were sold out, so we went a day later.",
)

_MIN_WORDS, _MAX_WORDS = 10, 80
_AGREEMENT_RATE = 0.5
_SLOT = re.compile(r"\{(\w+)\}")


def generate_reviews(num_train: int = 20_000, num_test: int = 2_000, seed: int = 0) -> Reviews:
    """Generates reviews of 10 to 80 words, half of them favourable.

    Args:
      num_train: training reviews, an even number: each has its mirror image among them.
      num_test: test reviews, an even number, from a stream of their own.
      seed: the same seed gives the same reviews.

    Returns:
      The reviews; none unlabelled.

    Raises:
      DataError: if a number is odd or below 2.

    Example:
      >>> one, other = generate_reviews(2, 2).train_texts
      >>> one != other, sorted(one) == sorted(other)
      (True, True)
    """
    for name, number in (("num_train", num_train), ("num_test", num_test)):
        if number < 2 or number % 2:
            raise DataError(
                f"generate_reviews: `{name}` must be even and at least 2, got {number}."
            )
    train_texts, train_labels = _generate(num_train, random.Random(f"{seed} train"))
    test_texts, test_labels = _generate(num_test, random.Random(f"{seed} test"))
    return Reviews("generated_reviews", train_texts, train_labels, test_texts, test_labels, [])


def _generate(number: int, rng: random.Random) -> tuple[list[str], np.ndarray]:
    texts = [text for _ in range(number // 2) for text in _mirrored_pair(rng)]
    labels = np.tile(np.array([1, 0], np.int32), number // 2)
    order = rng.sample(range(number), number)
    return [texts[index] for index in order], labels[order]


def _mirrored_pair(rng: random.Random) -> tuple[str, str]:
    """Returns a favourable review and the unfavourable one of the same words."""
    while True:
        skeleton = _skeleton(rng)
        slots = _SLOT.findall(skeleton)
        if any(slots.count(kind) != slots.count(other) for kind, other in OPPOSITE.items()):
            continue  # Its mirror image would need other words.
        # One queue of words for each kind of slot; the mirror image reads the opposite queue.
        words = {kind: rng.sample(known, slots.count(kind)) for kind, known in WORDS.items()}
        review = _fill(skeleton, words)
        if _MIN_WORDS <= len(review.split()) <= _MAX_WORDS:
            mirrored = {kind: words[OPPOSITE.get(kind, kind)] for kind in words}
            return review, _fill(skeleton, mirrored)


def _skeleton(rng: random.Random) -> str:
    """Returns a favourable review with slots for words."""
    sentences = [_judgement(rng) for _ in range(rng.randint(1, 3))]
    sentences += rng.sample(REMARKS, rng.randint(0, 3))
    rng.shuffle(sentences)
    return " ".join(sentences)


def _judgement(rng: random.Random) -> str:
    def clause(role: re.Match[str]) -> str:
        text = rng.choice(rng.choice((AFFIRMED, DENIED)))
        if role[1] == "main":
            return text
        return _SLOT.sub(lambda slot: f"{{{OPPOSITE.get(slot[1], slot[1])}}}", text)

    frame = AGREEMENT if rng.random() < _AGREEMENT_RATE else rng.choice(CONTRASTS)
    sentence = _SLOT.sub(clause, frame)
    return sentence[0].upper() + sentence[1:]


def _fill(skeleton: str, words: dict[str, list[str]]) -> str:
    queues = {kind: iter(known) for kind, known in words.items()}
    return _SLOT.sub(lambda slot: next(queues[slot[1]]), skeleton)
