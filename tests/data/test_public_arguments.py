"""Every public name of `data`, `decode` and `floors` refuses what it can know to be wrong.

A row is a public name, a call with one mistake, and what the message must say. A name without a
row must stand in `NOTHING`, with the reason.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import data, decode, floors

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
IDS = np.arange(10)
ONES = np.ones((4, 5, 2), np.float32)
TEXTS = ["a b", "b c"]
LABELS = np.array([0, 1], np.int32)
LOGITS = jnp.zeros((2, 3))
START = jnp.zeros(2, int)


def step(state, tokens):
    return state, jnp.zeros((*tokens.shape, 3))


def vocabulary():
    return data.build_word_vocabulary(TEXTS)


def beam(**changes):
    given = {"end_id": 0, "width": 1, "max_length": 2, **changes}
    start, state = given.pop("start", START), given.pop("state", ())
    return decode.beam_search(given.pop("step", step), state, start, **given)


def generated(call=decode.generate, **changes):
    given = {"key": KEY, "num_steps": 2, "sample": decode.greedy, **changes}
    return call(given.pop("step", step), (), given.pop("logits", LOGITS), **given)


INTEGER = "must be an integer of at least"
ROWS = [
    (data.adding, lambda: data.adding(RNG, 0, 9), f"`batch_size` {INTEGER} 1, got 0"),
    (data.adding, lambda: data.adding(RNG, 2, 1), f"`length` {INTEGER} 2, got 1"),
    (data.adding, lambda: data.adding(RNG, 2, 9.5), f"`length` {INTEGER} 2, got 9.5"),
    (data.copying, lambda: data.copying(RNG, 2, 0), f"`delay` {INTEGER} 1, got 0"),
    (data.copying, lambda: data.copying(RNG, -1, 3), f"`batch_size` {INTEGER} 1"),
    (data.lorenz, lambda: data.lorenz(RNG, 2, 0), f"`length` {INTEGER} 1"),
    (data.lorenz, lambda: data.lorenz(RNG, 2, 5, interval=np.nan), "`interval` must be a finite"),
    (data.mackey_glass, lambda: data.mackey_glass(RNG, 0, 5), f"`batch_size` {INTEGER} 1"),
    (data.mackey_glass, lambda: data.mackey_glass(RNG, 2, 5, delay=0.0), "of at least 0.1, got 0"),
    (
        data.modular_arithmetic,
        lambda: data.modular_arithmetic(RNG, 0, 5),
        f"`batch_size` {INTEGER}",
    ),
    (data.narma10, lambda: data.narma10(RNG, 2, 0), f"`length` {INTEGER} 1"),
    (data.parity, lambda: data.parity(RNG, 2, 5, min_length=6), "1 <= min_length <= length"),
    (data.sine, lambda: data.sine(RNG, 2, 5, noise=-1), "`noise` must be a finite number of at"),
    (data.sine, lambda: data.sine(RNG, 2, 5, noise=np.inf), "`noise` must be a finite number of"),
    (data.generate_reviews, lambda: data.generate_reviews(0), "must be even and at least 2"),
    (
        data.generate_reviews,
        lambda: data.generate_reviews(3),
        "`num_train` must be even and at least 2, got 3",
    ),
    (data.Alphabet, lambda: data.Alphabet("ab").decode(np.array([-1])), "must lie in 0 to 1"),
    (data.Alphabet, lambda: data.Alphabet("ab").encode("c"), "got 'c'"),
    (data.load_chorales, lambda: data.load_chorales(every=0), f"`every` {INTEGER} 1"),
    (data.load_ett, lambda: data.load_ett(horizon=0), f"`horizon` {INTEGER} 1"),
    (data.load_half_cheetah, lambda: data.load_half_cheetah(stride=0), f"`stride` {INTEGER} 1"),
    (
        data.load_sequential_mnist,
        lambda: data.load_sequential_mnist(permutation_seed=-1),
        f"`permutation_seed` {INTEGER} 0",
    ),
    (data.load_spoken_digits, lambda: data.load_spoken_digits(held_out=-1), f"{INTEGER} 0"),
    (data.load_reviews, lambda: data.load_reviews("imbd"), "one of auto, imdb_reviews"),
    (
        data.load_parallel_folder,
        lambda: data.load_parallel_folder(".", "de", "de"),
        "must differ, got 'de' for both",
    ),
    (data.load_ud_partut, lambda: data.load_ud_partut(__file__), "--data_dir must hold"),
    (data.load_multi30k, lambda: data.load_multi30k(__file__), "is not a folder"),
    (data.load_shakespeare, lambda: data.load_shakespeare(__file__), "is not a folder"),
    (data.load_splice, lambda: data.load_splice(__file__), "is not a folder"),
    (data.read_conllu, lambda: data.read_conllu("x", column="tag"), "`column` must be one of"),
    (data.read_table, lambda: data.read_table("x", missing="guess"), "`missing` must be one of"),
    (data.read_ts, lambda: data.read_ts("nowhere.ts"), "no such file: nowhere.ts"),
    (data.read_wav, lambda: data.read_wav("nowhere.wav"), "no such file: nowhere.wav"),
    (data.encode_dna, lambda: data.encode_dna("ACX"), "X"),
    (data.log_mel, lambda: data.log_mel(np.zeros(9), 0), "`rate` must be a finite number of at"),
    (data.log_mel, lambda: data.log_mel(np.zeros(9), 2_000_000_000), "`rate` must be at most 1000"),
    (data.log_mel, lambda: data.log_mel(np.zeros(9), 8000, num_mels=0), f"`num_mels` {INTEGER} 1"),
    (data.log_mel, lambda: data.log_mel(np.zeros(9), 8000, hop_s=np.inf), "`hop_s` must be a fini"),
    (data.log_mel, lambda: data.log_mel(np.zeros(9), 1000), "a band of num_mels=40 lies between"),
    (data.Reviews, lambda: data.Reviews("x", ["a"], LABELS, ["b"], LABELS, []), "got 1 and 2"),
    (data.Reviews, lambda: data.Reviews("x", TEXTS, LABELS, TEXTS, 2 * LABELS, []), "lie in 0 to"),
    (data.Reviews, lambda: data.Reviews("x", "ab", LABELS, TEXTS, LABELS, []), "sequence of texts"),
    (
        data.write_reviews,
        lambda: data.write_reviews(data.generate_reviews(2, 2), __file__),
        "cannot be written",
    ),
    (data.forecast_windows, lambda: data.forecast_windows(IDS, 2, 2), r"shape \(T, D\)"),
    (data.forecast_windows, lambda: data.forecast_windows(ONES[0], 0, 2), f"`lookback` {INTEGER}"),
    (
        data.forecast_windows,
        lambda: data.forecast_windows(ONES[0], 2, 2, columns=[-1]),
        "`columns` must lie in 0 to 1, got -1",
    ),
    (data.next_step_windows, lambda: data.next_step_windows([], 2, 1), "at least one trace"),
    (
        data.next_step_windows,
        lambda: data.next_step_windows([np.ones((9, 2)), np.ones((9, 3))], 2, 1),
        r"every trace must have shape \(T, 2\), got \(9, 3\) for trace 1",
    ),
    (data.make_sequences, lambda: data.make_sequences(ONES, ONES[:3]), "`targets` must begin with"),
    (
        data.make_sequences,
        lambda: data.make_sequences(ONES, ONES, lengths=np.array([1, 6, 1, 1])),
        "`lengths` must lie in 0 to 5, got 6",
    ),
    (
        data.make_sequences,
        lambda: data.make_sequences(ONES, ONES, weights=np.array([1, np.nan, 1, 1])),
        "`weights` must be finite",
    ),
    (
        data.Sequences,
        lambda: data.make_sequences(ONES, ONES).take(np.arange(3), size=2),
        "`size` must be at least the 3 indices, got 2",
    ),
    (
        data.sequence_batches,
        lambda: data.sequence_batches(data.make_sequences(ONES, ONES), 0),
        f"`batch_size` {INTEGER} 1",
    ),
    (
        data.RaggedSequences,
        lambda: data.RaggedSequences([np.ones((2, 1))] * 10, np.zeros(20)),
        "`inputs` and `targets` must have one length, got 10 and 20",
    ),
    (
        data.RaggedSequences,
        lambda: data.RaggedSequences([np.ones((2, 1)), np.ones((2, 2))], np.zeros(2)),
        r"differ in T alone, got shapes \(1,\) and \(2,\)",
    ),
    (
        data.ragged_batches,
        lambda: data.ragged_batches(data.RaggedSequences([IDS], np.zeros(1)), 0, [10]),
        f"`batch_size` {INTEGER} 1",
    ),
    (
        data.ragged_batches,
        lambda: data.ragged_batches(data.RaggedSequences([IDS], np.zeros(1)), 1, [9]),
        "has length 10, the largest bucket holds 9",
    ),
    (data.pair_buckets, lambda: data.pair_buckets([1, 2], [1], 1, 1), "one length, got 2 and 1"),
    (data.pair_buckets, lambda: data.pair_buckets([1], [1], 0, 1), f"`num_target` {INTEGER} 1"),
    (data.pair_buckets, lambda: data.pair_buckets([-1], [1], 1, 1), "must lie in 0 and above"),
    (
        data.pair_batches,
        lambda: data.pair_batches([IDS], [IDS], 1, [], rng=None),
        "`buckets` must be pairs of bounds",
    ),
    (
        data.pair_batches,
        lambda: data.pair_batches([IDS], [], 1, [(9, 9)], rng=None),
        "must have one length, got 1 and 0",
    ),
    (data.tight_bucket_lengths, lambda: data.tight_bucket_lengths([], 1), "at least one length"),
    (data.tight_bucket_lengths, lambda: data.tight_bucket_lengths([1.5], 1), "must be integers of"),
    (data.tight_bucket_lengths, lambda: data.tight_bucket_lengths([1], 0), f"{INTEGER} 1"),
    (data.training_segments, lambda: data.training_segments(IDS, 0, 3), f"`num_streams` {INTEGER}"),
    (data.training_segments, lambda: data.training_segments(-IDS, 1, 3), "`ids` must lie in 0"),
    (
        data.training_segments,
        lambda: data.training_segments(IDS, 1, 3, restart=1.5, rng=RNG),
        "`restart` must be a rate from 0 to 1, got 1.5",
    ),
    (
        data.scoring_segments,
        lambda: data.scoring_segments(IDS, 2, 5, 1, 3, warm_up=-1),
        f"`warm_up` {INTEGER} 0",
    ),
    (
        data.scoring_segments,
        lambda: data.scoring_segments(IDS, 5, 11, 1, 3, warm_up=0),
        "1 <= first < last <= 10 is required, got 5 and 11",
    ),
    (data.build_vocabulary, lambda: data.build_vocabulary("a b", 9), "a sequence of texts, got"),
    (data.build_vocabulary, lambda: data.build_vocabulary(["a\ud800"], 9), "lone surrogates"),
    (data.build_vocabulary, lambda: data.build_vocabulary(TEXTS, 2), "at least 3"),
    (data.Vocabulary, lambda: data.build_vocabulary(TEXTS, 9).encode("a b"), "a sequence of texts"),
    (data.Vocabulary, lambda: data.build_vocabulary(TEXTS, 9).encode(["\udcff"]), "lone surrogate"),
    (data.build_word_vocabulary, lambda: data.build_word_vocabulary("a b"), "a sequence of texts"),
    (data.build_word_vocabulary, lambda: data.build_word_vocabulary(TEXTS, 0), f"{INTEGER} 1"),
    (data.build_subword_vocabulary, lambda: data.build_subword_vocabulary(TEXTS, 4), "at least 5"),
    (
        data.build_subword_vocabulary,
        lambda: data.build_subword_vocabulary(["a " + "ab" * 6000], 9),
        "a word must have at most 10000 characters, got 12000 in 'abab",
    ),
    (data.TextVocabulary, lambda: vocabulary().decode([99]), "must lie in 0 to 6, got 99"),
    (data.TextVocabulary, lambda: vocabulary().pieces([-1]), "must lie in 0 to 6, got -1"),
    (decode.beam_search, lambda: beam(width=0), f"`width` {INTEGER} 1"),
    (decode.beam_search, lambda: beam(max_length=2.5), f"`max_length` {INTEGER} 1"),
    (decode.beam_search, lambda: beam(alpha=np.inf), "`alpha` must be a finite number"),
    (decode.beam_search, lambda: beam(end_id=3), "`end_id` must be one of the 3 tokens"),
    (decode.beam_search, lambda: beam(start=jnp.zeros(2)), "`start` must be integers of shape"),
    (decode.beam_search, lambda: beam(state=jnp.zeros((3, 1))), r"\(2, ...\), got \(3, 1\)"),
    (decode.beam_search, lambda: beam(step=lambda state: state), "`step` must be a function that"),
    (
        decode.greedy_search,
        lambda: decode.greedy_search(step, (), START, end_id=0, max_length=0),
        f"`max_length` {INTEGER} 1",
    ),
    (decode.generate, lambda: generated(num_steps=0), f"`num_steps` {INTEGER} 1"),
    (decode.generate, lambda: generated(stop_token=3), "`stop_token` must lie in 0 ... V - 1 = 2"),
    (decode.generate, lambda: generated(sample="greedy"), "`sample` must be a function"),
    (decode.stream, lambda: generated(decode.stream, num_steps=0), f"`num_steps` {INTEGER} 1"),
    (decode.stream, lambda: generated(decode.stream, stop_token=-1), "`stop_token` must lie in 0"),
    (decode.ctc_collapse, lambda: decode.ctc_collapse([1], blank=-1), f"`blank` {INTEGER} 0"),
    (decode.ctc_greedy, lambda: decode.ctc_greedy(ONES, [5, 5, 5, 6]), "`lengths` must lie in 0"),
    (decode.ctc_greedy, lambda: decode.ctc_greedy(ONES, [5] * 4, blank=2), "`blank` must lie in 0"),
    (
        decode.ctc_beam_search,
        lambda: decode.ctc_beam_search(np.log(np.full((2, 2), 0.5)), 1, blank=2),
        "`blank` must lie in 0",
    ),
    (
        decode.ctc_beam_search,
        lambda: decode.ctc_beam_search(np.log(np.full((2, 2), 0.5)), 0),
        f"`beam_width` {INTEGER} 1",
    ),
    (decode.keep_top_k, lambda: decode.keep_top_k(LOGITS, 1.5), f"`k` {INTEGER} 1"),
    (decode.keep_top_p, lambda: decode.keep_top_p(LOGITS, 0), r"`p` must lie in \(0, 1\]"),
    (decode.make_sampler, lambda: decode.make_sampler(np.nan), "`temperature` must be a finite"),
    (decode.make_sampler, lambda: decode.make_sampler(np.inf), "`temperature` must be a finite"),
    (decode.make_sampler, lambda: decode.make_sampler(top_k=0), f"`k` {INTEGER} 1"),
    (decode.make_bernoulli_sampler, lambda: decode.make_bernoulli_sampler(-1), "`temperature` mus"),
    (
        floors.fit_naive_bayes_logistic,
        lambda: floors.fit_naive_bayes_logistic([IDS, IDS], LABELS, 1.5),
        f"`order` {INTEGER} 1",
    ),
    (
        floors.fit_naive_bayes_logistic,
        lambda: floors.fit_naive_bayes_logistic([IDS, -IDS], LABELS, 1),
        "`sequences` must lie in 0 and above, got -1",
    ),
    (
        floors.fit_naive_bayes_logistic,
        lambda: floors.fit_naive_bayes_logistic([IDS, IDS], LABELS, 1, l2=np.nan),
        "`l2` must be finite and above 0",
    ),
    (floors.fit_ngrams, lambda: floors.fit_ngrams(IDS, 1, 9), "`ids` must lie in 0 to 8, got 9"),
    (floors.fit_ngrams, lambda: floors.fit_ngrams(IDS, 0, 10), f"`order` {INTEGER} 1"),
    (floors.fit_ngrams, lambda: floors.fit_ngrams([], 1, 10), "at least one id"),
    (floors.NGrams, lambda: floors.fit_ngrams(IDS, 1, 10).up_to(0), f"`order` {INTEGER} 1"),
    (
        floors.NGrams,
        lambda: floors.fit_ngrams(IDS, 1, 10).log_probabilities(np.array([10])),
        "`ids` must lie in 0 to 9, got 10",
    ),
    (floors.fit_tag_lexicon, lambda: floors.fit_tag_lexicon([(["a"], [])]), "got 1 and 0"),
    (
        floors.fit_translation_lexicon,
        lambda: floors.fit_translation_lexicon(["a"], ["b"], iterations=0),
        f"`iterations` {INTEGER} 1",
    ),
    (
        floors.fit_translation_lexicon,
        lambda: floors.fit_translation_lexicon("a", "b"),
        "a sequence of texts",
    ),
]

NOTHING = {
    # Records of results; who makes them checks.
    data.Segment, decode.Hypotheses, decode.Generated, floors.NaiveBayesLogistic,
    floors.TagLexicon, floors.TranslationLexicon,
    data.DataError, data.TsSequences,
    decode.edit_distance,  # any symbols, as many as one likes
    decode.greedy,  # as a sampler; it has only logits
}  # fmt: skip
ELSEWHERE = {  # floors of numbers, in tests/floors
    "fit_nearest_mean", "fit_ridge_classes", "fit_ridge_forecast", "persistence", "seasonal",
    "fit_ridge", "lagged",
}  # fmt: skip


@pytest.mark.parametrize(
    ("call", "message"), [row[1:] for row in ROWS], ids=[row[0].__name__ for row in ROWS]
)
def test_a_wrong_argument_is_one_line(call, message, monkeypatch):
    monkeypatch.delenv("SEQJAX_DATA_DIR", raising=False)
    with pytest.raises((ValueError, TypeError), match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_every_public_name_is_here():
    public = {
        value
        for package in (data, decode, floors)
        for name, value in vars(package).items()
        if not name.startswith("_") and callable(value) and name not in ELSEWHERE
    }
    assert public == {row[0] for row in ROWS} | NOTHING
