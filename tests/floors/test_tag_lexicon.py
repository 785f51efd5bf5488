import pytest

from experiments.tagging.generated_tags import generate_tagged
from seqjax import floors


def test_words_then_endings_then_the_majority():
    lexicon = floors.fit_tag_lexicon(
        [
            (["Will", "will", "will"], ["PROPN", "AUX", "AUX"]),
            (["a", "nation", "station", "ran"], ["DET", "NOUN", "NOUN", "VERB"]),
            (["a", "a"], ["DET", "X"]),
        ]
    )
    assert lexicon.tag("Will") == "PROPN"  # as written
    assert lexicon.tag("WILL") == "AUX"  # in lower case
    assert lexicon.tag("a") == "DET"
    assert lexicon.tag("Ovation") == "NOUN"  # the longest ending that is known
    assert lexicon.tag("tran") == "VERB"
    assert lexicon.tag("!") == lexicon.majority == "AUX"
    assert lexicon.tag("") == lexicon.majority


def test_endings_are_counted_over_different_words():
    lexicon = floors.fit_tag_lexicon(
        [(["is", "is", "is", "dogs", "cats"], ["V", "V", "V", "N", "N"])]
    )
    assert lexicon.tag("cows") == "N"


def test_it_needs_a_word_and_as_many_tags():
    with pytest.raises(ValueError, match="at least one word, got none"):
        floors.fit_tag_lexicon([])
    with pytest.raises(ValueError, match="must have one length, got 2 and 1"):
        floors.fit_tag_lexicon([(["a", "b"], ["X"])])


def test_it_knows_no_neighbour():
    splits = generate_tagged(300, 1, 50)
    lexicon = floors.fit_tag_lexicon(splits.train)
    wrong = {
        word.lower()
        for sentence in splits.test
        for word, tag in zip(*sentence, strict=True)
        if lexicon.tag(word) != tag
    }
    assert wrong
    assert not any(word.endswith(("ly", "ous", "tion", "ize")) for word in wrong)
