import os

import numpy as np
import pytest
from scipy.io import wavfile

from experiments.transcribe.digit_strings import draw_digit_strings
from experiments.transcribe.tones import generate_tones  # fmt: skip
from seqjax.data import DataError, load_spoken_digits
from seqjax.data._spoken_digits import Recordings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two digits by two speakers, nine recordings each; the samples say which it is."""
    root = tmp_path_factory.mktemp("data")
    (root / "fsdd" / "recordings").mkdir(parents=True)
    for digit in range(2):
        for speaker, name in enumerate(("ann", "bob")):
            for index in range(9):
                samples = np.full(100 + index, 1000 * digit + 100 * speaker + index, np.int16)
                path = root / "fsdd" / "recordings" / f"{digit}_{name}_{index}.wav"
                wavfile.write(path, 8000, samples)
    return root


def names(recordings):
    values = [round(32768 * float(samples[0])) for samples in recordings.samples]
    return {(v // 1000, v // 100 % 10, v % 100) for v in values}


def test_the_published_indices_test_and_speakers_are_balanced(folder):
    found = load_spoken_digits(folder, held_out=2)
    pairs = [(digit, speaker) for digit in range(2) for speaker in range(2)]
    assert names(found.test) == {(*pair, index) for pair in pairs for index in range(5)}
    for part, number in ((found.validation, 2), (found.train, 2)):
        for pair in pairs:
            assert sum(name[:2] == pair for name in names(part)) == number
    assert not names(found.train) & names(found.validation)
    np.testing.assert_array_equal(
        found.train.digits, [round(32768 * float(s[0])) // 1000 for s in found.train.samples]
    )
    other = load_spoken_digits(folder, held_out=2, seed=1)
    assert names(other.validation) != names(found.validation)
    assert names(other.test) == names(found.test)


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(DataError, match="more than 4 recordings of index 5 or above"):
        load_spoken_digits(folder, held_out=4)
    with pytest.raises(DataError, match=r"must hold fsdd/recordings/\*.wav, but"):
        load_spoken_digits(tmp_path)
    (tmp_path / "recordings").mkdir()
    with pytest.raises(DataError, match=r"must hold fsdd/recordings/\*\.wav, but"):
        load_spoken_digits(tmp_path)
    (tmp_path / "recordings" / "seven.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"DIGIT_SPEAKER_INDEX\.wav, got seven\.wav"):
        load_spoken_digits(tmp_path)


def test_tones_have_the_pitches_of_their_keys():
    tones = generate_tones(np.random.default_rng(0), 30)
    assert np.bincount(tones.digits).tolist() == [3] * 10
    for samples, digit in zip(tones.samples, tones.digits, strict=True):
        assert 800 <= len(samples) <= 2000
        power = np.abs(np.fft.rfft(samples, 8000)) ** 2  # a frequency a bin
        low, high = power[600:1000].argmax() + 600, power[1150:1550].argmax() + 1150
        row = 3 if digit == 0 else (digit - 1) // 3
        column = 1 if digit == 0 else (digit - 1) % 3
        assert abs(low / (697, 770, 852, 941)[row] - 1) < 0.03
        assert abs(high / (1209, 1336, 1477)[column] - 1) < 0.03


def test_strings_hold_every_recording_once():
    rng = np.random.default_rng(0)
    samples = [np.full(n, i + 1, np.float32) for i, n in enumerate(rng.integers(400, 3000, 40))]
    recordings = Recordings(samples, np.arange(40, dtype=np.int32) % 10, np.array(["x"] * 40))
    strings = draw_digit_strings(rng, recordings, max_digits=4, max_pause_s=0.1, max_seconds=1.0)
    heard = []
    for sound, row in zip(strings.samples, strings.digits, strict=True):
        assert len(sound) <= 8000
        count = (row >= 0).sum()
        assert count >= 1
        assert (row[count:] == -1).all()
        values = sound[np.abs(sound) > 0.5]  # not the faint noise of the pauses
        borders = np.flatnonzero(np.diff(values)) + 1
        order = [int(part[0]) - 1 for part in np.split(values, borders)]
        for i in order:
            assert (values == i + 1).sum() == len(samples[i])
        assert [i % 10 for i in order] == row[:count].tolist()
        heard += order
    assert sorted(heard) == list(range(40))
    assert {int((row >= 0).sum()) for row in strings.digits} >= {1, 2, 3}
    with pytest.raises(DataError, match=r"at least 0\.\d+ s, the longest recording"):
        draw_digit_strings(rng, recordings, max_seconds=0.2, max_pause_s=0.1)


def test_real_digits():
    if not os.path.exists(os.path.join(os.environ.get("SEQJAX_DATA_DIR", ""), "fsdd")):
        pytest.skip("SEQJAX_DATA_DIR holds no fsdd")
    found = load_spoken_digits()
    assert [len(part.digits) for part in found] == [2400, 300, 300]
    assert np.bincount(found.test.digits).tolist() == [30] * 10
