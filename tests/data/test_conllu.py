"""Tagged sentences: read from CoNLL-U, whatever stands in the file, and generated."""

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.tagging.generated_tags import GENERATED_TAGS, generate_tagged
from seqjax import data
from seqjax.data._conllu import load_conllu

SMALL = """# sent_id = 1
# text = I don't know.
1\tI\tI\tPRON\tPE\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\tdo\tAUX\tVM\t_\t4\taux\t_\t_
3\tn't\tnot\tPART\tPART\t_\t4\tadvmod\t_\t_
3.1\tever\tever\tADV\tB\t_\t_\t_\t_\t_
4\tknow\tknow\tVERB\tV\t_\t0\troot\t_\tSpaceAfter=No
5\t.\t.\tPUNCT\tFS\t_\t4\tpunct\t_\t_

1\t10 000\t10 000\tNUM\tN\t_\t0\troot\t_\t_
"""


def word(number=1, form="a", tag="X"):
    return "\t".join([str(number), form, "_", tag, tag.lower(), "_", "0", "root", "_", "_"])


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


CHANGES = {
    "none": lambda text: text,
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "a byte order mark": lambda text: "\ufeff" + text,
    "more at the end": lambda text: text + "\n\n# the end\n",
}


@pytest.mark.parametrize("change", CHANGES)
def test_words_of_their_own_are_read(tmp_path, change):
    first, second = data.read_conllu(write(tmp_path / "a.conllu", CHANGES[change](SMALL)))
    assert first.words == ("I", "do", "n't", "know", ".")
    assert first.tags == ("PRON", "AUX", "PART", "VERB", "PUNCT")
    assert second == (("10 000",), ("NUM",))


def test_the_column_is_chosen(tmp_path):
    path = write(tmp_path / "a.conllu", SMALL)
    assert data.read_conllu(path, column="xpos")[0].tags == ("PE", "VM", "PART", "V", "FS")
    assert data.read_conllu(path, column="deprel")[0].tags[3] == "root"
    with pytest.raises(ValueError, match="`column` must be one of upos, xpos, deprel, got 'feats'"):
        data.read_conllu(path, column="feats")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold at least one sentence, got none"),
        ("# a comment\n\n", "at least one sentence"),
        ("1 a _ X _ _ 0 root _ _\n", ":1 must have 10 fields separated by tabs, got 1: '1 a"),
        (word() + "\n" + word(2) + "\textra\n", ":2 must have 10 fields separated by tabs, got 11"),
        (word() + "\n\n" + word(2), ":3 must begin with 1, .* got '2'. Sentences are divided"),
        (word() + "\n" + word(1), ":2 must begin with 2, .* got '1'"),
        (word("x"), ":1 must begin with 1, .* got 'x'"),
        (word("1" * 5000), ":1 must begin with 1, .* got '1111"),
        (word("٠"), ":1 must begin with 1"),
        (word("-1"), ":1 must begin with 1"),
        (word(1, ""), ":1 must have a word in its second field, got ''"),
        (word(1, " "), ":1 must have a word"),
        (word(1, "a", "_"), ":1 must have a tag in the field upos, got '_' for 'a'"),
        (word(1, "a", ""), ":1 must have a tag in the field upos, got ''"),
        ((word() + "\n").encode() + b"2\t\xff", ":2 must be UTF-8 text, got byte 0xff"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_named(tmp_path, text, message):
    with pytest.raises(data.DataError, match=message) as caught:
        data.read_conllu(write(tmp_path / "a.conllu", text))
    assert "\n" not in str(caught.value)
    assert "a.conllu" in str(caught.value)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(data.DataError, match=r"no such file: .*missing\.conllu"):
        data.read_conllu(tmp_path / "missing.conllu")
    with pytest.raises(data.DataError, match="must be a file, and is a folder"):
        data.read_conllu(tmp_path)


FIELD = st.text(st.sampled_from("a1_.-#\u2028\x85\r \ud7ff"), max_size=3)
LINE = st.one_of(
    st.lists(FIELD, min_size=9, max_size=11).map("\t".join),
    st.builds(word, st.integers(1, 3), FIELD, FIELD),
    st.just(""),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=60), st.lists(LINE, max_size=6).map("\n".join)))
def test_any_bytes_are_sentences_or_a_data_error(tmp_path, content):
    path = write(tmp_path / "fuzz.conllu", content)
    try:
        sentences = data.read_conllu(path)
    except data.DataError as error:
        assert "fuzz.conllu" in str(error)  # noqa: PT017
        return
    for sentence in sentences:
        assert len(sentence.words) == len(sentence.tags) > 0
        assert all(name.strip() for name in (*sentence.words, *sentence.tags))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sentences=st.lists(
        st.lists(
            st.tuples(st.sampled_from(["a", "b\u2028c", "'é"]), st.sampled_from("XY")), min_size=1
        ),
        min_size=1,
    )
)
def test_what_was_written_is_read(tmp_path, sentences):
    blocks = ["\n".join(word(i, *pair) for i, pair in enumerate(s, start=1)) for s in sentences]
    found = data.read_conllu(write(tmp_path / "a.conllu", "\n\n".join(blocks)))
    assert [list(zip(*sentence, strict=True)) for sentence in found] == sentences


def test_a_folder(tmp_path):
    for part, number in (("train", 3), ("dev", 2), ("test", 1)):
        write(tmp_path / f"my-{part}.conllu", "\n\n".join([word(1, part)] * number))
    splits = load_conllu(tmp_path)
    assert [len(part) for part in splits[1:]] == [3, 2, 1]
    assert splits.validation[0].words == ("dev",)
    assert splits.sha256 == load_conllu(tmp_path).sha256
    assert splits.sha256 != splits._replace(train=splits.train[1:]).sha256
    assert splits.sha256 != load_conllu(tmp_path, column="xpos").sha256
    write(tmp_path / "other-test.conllu", word())
    with pytest.raises(data.DataError, match=r"ends in test.conllu, got my-test.*, other-test"):
        load_conllu(tmp_path)
    (tmp_path / "my-dev.conllu").unlink()
    with pytest.raises(data.DataError, match=r"one file that ends in dev.conllu, got none"):
        load_conllu(tmp_path)
    with pytest.raises(data.DataError, match="must be an existing folder"):
        load_conllu(tmp_path / "missing")


def test_partut_is_asked_for_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("SEQJAX_DATA_DIR", raising=False)
    with pytest.raises(data.DataError, match="partut: the folder of the data must be given"):
        data.load_ud_partut()
    with pytest.raises(
        data.DataError, match=r"must hold ud_partut/\*train.conllu or UD_English-ParTUT"
    ):
        data.load_ud_partut(tmp_path)


def test_real_partut():
    root = os.environ.get("SEQJAX_DATA_DIR", "")
    if not (Path(root) / "ud_partut").exists():
        pytest.skip("SEQJAX_DATA_DIR holds no ud_partut")
    splits = data.load_ud_partut()
    assert splits.name == "partut"
    assert [len(part) for part in splits[1:]] == [1781, 156, 153]
    assert [sum(len(s.words) for s in part) for part in splits[1:]] == [43504, 2722, 3408]
    assert len({tag for sentence in splits.train for tag in sentence.tags}) == 17


def test_generated_sentences_follow_their_rules():
    splits = generate_tagged(400, 20, 20)
    assert splits.sha256 == generate_tagged(400, 20, 20).sha256
    assert splits.sha256 != generate_tagged(400, 20, 20, seed=1).sha256
    assert splits.validation != splits.test
    assert {t for s in splits.train for t in s.tags} == set(GENERATED_TAGS)
    seen = set()
    for words, tags in splits.train:
        pairs = list(zip(words, tags, strict=True))
        if words[0] == "Well":
            assert tags[0] == {"!": "INTJ", ".": "ADV"}[words[-1]]
        if words[-2] == "so":
            assert tags[-2] == ("ADV" if words[0] == "Well" else "PRON")
        for (form, tag), (_, following) in itertools.pairwise(pairs):
            if form == "that":
                assert (tag == "SCONJ") == (following == "PRON")
            if form in ("plan", "walk"):
                seen.add(tag)
            for ending, its in (
                ("ously", "ADV"),
                ("tion", "NOUN"),
                ("ous", "ADJ"),
                ("ize", "VERB"),
            ):
                if form.endswith(ending):
                    assert tag == its
    assert seen == {"NOUN", "VERB"}
    with pytest.raises(data.DataError, match="`num_test` must be at least 1, got 0"):
        generate_tagged(1, 1, 0)
