"""BLEU, and what it is worth to translate without learning much."""

from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU

from seqjax.data._parallel_text import ParallelText
from seqjax.floors import fit_translation_lexicon


def bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """Returns the corpus BLEU, 0 to 100, of sentences whose words are set apart by spaces.

    The sentences are compared as they are (`tokenize="none"`): those of the tasks are tokenised,
    and what the network writes is too. `force` only keeps sacrebleu from warning of that.

    Example:
      >>> bleu(["a b c d e"], ["a b c d e"])
      100.0

    Reference: Papineni et al. (2002), BLEU: a method for automatic evaluation of machine
    translation; Post (2018), A call for clarity in reporting BLEU scores.
    """
    score = BLEU(tokenize="none", force=True).corpus_score(list(translations), [list(references)])
    return round(score.score, 10)


def floor_scores(text: ParallelText) -> dict[str, float]:
    """Returns the test BLEU of the sources themselves, and of a lexicon word by word."""
    lexicon = fit_translation_lexicon(*text.train)
    by_word = [lexicon.translate(sentence) for sentence in text.test.sources]
    return {
        "copy": bleu(text.test.sources, text.test.targets),
        "lexicon": bleu(by_word, text.test.targets),
    }
