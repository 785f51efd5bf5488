import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from experiments.features import stack_steps
from seqjax.data import DataError, log_mel, read_wav
from seqjax.data._audio import mel_filters

TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(800) / 8000)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_every_kind_of_sample(tmp_path, dtype):
    path = tmp_path / "tone.wav"
    if dtype == "uint8":
        samples = np.round(TONE * 128 + 128).astype(dtype)
    elif dtype.startswith("int"):
        samples = np.round(TONE * np.iinfo(dtype).max).astype(dtype)
    else:
        samples = TONE.astype(dtype)
    wavfile.write(path, 8000, samples)
    found = read_wav(path)
    assert found.rate == 8000
    assert found.samples.dtype == np.float32
    np.testing.assert_allclose(found.samples, TONE, atol=0.005 if dtype == "uint8" else 1e-4)


def test_24_bits_and_two_channels(tmp_path):
    path = str(tmp_path / "stereo.wav")
    values = np.round(TONE * (2**23 - 1)).astype("<i4")
    with wave.open(path, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(3)
        file.setframerate(16000)
        packed = values.view(np.uint8).reshape(-1, 4)[:, :3]
        file.writeframes(np.stack([packed, np.zeros_like(packed)], axis=1).tobytes())
    found = read_wav(path, rate=16000)
    np.testing.assert_allclose(found.samples, TONE / 2, atol=1e-5)  # the mean of both channels


def test_chunks_that_hold_no_sound_are_passed_over(tmp_path):
    path = tmp_path / "tagged.wav"
    wavfile.write(path, 8000, TONE.astype(np.float32))
    path.write_bytes(path.read_bytes() + b"note\x04\x00\x00\x00abcd")
    np.testing.assert_allclose(read_wav(path).samples, TONE, atol=1e-6)


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"hello", b"RIFF\x24\x00\x00\x00WAVEfmt ", b"ID3\x03" + bytes(100)],
    ids=["empty", "cut", "text", "header alone", "mp3"],
)
def test_what_is_no_wav_is_one_line(tmp_path, content):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.wav must") as caught:
        read_wav(path)
    assert "\n" not in str(caught.value)


def test_any_cut_or_changed_header_is_read_or_refused(tmp_path):
    path = tmp_path / "whole.wav"
    wavfile.write(path, 8000, np.round(TONE[:50] * 32767).astype(np.int16))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for trial in range(150):
        content = bytearray(whole[: rng.integers(0, len(whole) + 1)] if trial % 2 else whole)
        for place in rng.integers(0, 44, 3):
            if place < len(content):
                content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            samples = read_wav(path).samples
        except DataError:
            continue
        assert np.isfinite(samples).all()


@pytest.mark.parametrize("rate", [0, 1, 39, 2_000_000_000])
def test_a_header_with_an_absurd_rate_is_refused(rate, tmp_path):
    wavfile.write(tmp_path / "a.wav", rate, np.zeros(99, np.uint8))
    with pytest.raises(DataError, match=f"a.wav must have from 40 to 1000000 .*, got {rate}. Its"):
        read_wav(tmp_path / "a.wav")


def test_rate_and_absence_are_named(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16000, TONE.astype(np.float32))
    with pytest.raises(DataError, match="must have 8000 samples a second, got 16000"):
        read_wav(tmp_path / "a.wav", rate=8000)
    with pytest.raises(DataError, match=r"no such file: .*b\.wav"):
        read_wav(tmp_path / "b.wav")
    wavfile.write(tmp_path / "nan.wav", 8000, np.full(9, np.nan, np.float32))
    with pytest.raises(DataError, match="must hold finite samples"):
        read_wav(tmp_path / "nan.wav")
    wavfile.write(tmp_path / "none.wav", 8000, np.zeros(0, np.int16))
    with pytest.raises(DataError, match=r"none\.wav must"):
        read_wav(tmp_path / "none.wav")


@given(st.integers(1, 700), st.integers(0, 99))
def test_log_mel_is_its_formula(number, seed):
    rate, window, hop, num_fft = 8000, 200, 80, 256
    samples = np.random.default_rng(seed).normal(size=number)
    found = log_mel(samples, rate, num_mels=12)
    starts = [0]
    while starts[-1] + window < number:
        starts.append(starts[-1] + hop)
    assert found.shape == (len(starts), 12)
    assert found.dtype == np.float32
    n = np.arange(num_fft)
    transform = np.exp(-2j * np.pi * np.outer(np.arange(129), n) / num_fft)
    for frame, start in zip(found, starts, strict=True):
        cut = np.zeros(num_fft)
        part = samples[start : start + window]
        cut[: len(part)] = part * np.sin(np.pi * np.arange(window) / window)[: len(part)] ** 2
        power = np.abs(transform @ cut) ** 2
        wanted = np.log(mel_filters(12, num_fft, rate) @ power + 1e-6)
        np.testing.assert_allclose(frame, wanted, rtol=1e-5, atol=1e-5)


def test_a_tone_is_loudest_in_its_band():
    for frequency in (300, 1000, 3000):
        tone = np.sin(2 * np.pi * frequency * np.arange(4000) / 8000)
        loudest = log_mel(tone, 8000)[1:-1].argmax(1)
        mels = 2595 * np.log10(1 + np.array([frequency, 4000]) / 700)
        assert np.abs(loudest + 1 - 41 * mels[0] / mels[1]).max() <= 1


def test_mel_filters_are_triangles_that_meet():
    filters = mel_filters(10, 512, 16000)
    assert filters.shape == (10, 257)
    assert (filters >= 0).all()
    assert filters.max() <= 1
    inside = slice(filters[0].argmax(), filters[-1].argmax())
    np.testing.assert_allclose(filters[:, inside].sum(0), 1)  # one falls as the next rises
    with pytest.raises(ValueError, match="Take fewer bands, or longer frames"):
        mel_filters(200, 256, 8000)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4))
def test_stack_steps(length, size, stride):
    xs = np.random.default_rng(0).normal(size=(length, 3))
    found = stack_steps(xs, size, stride)
    assert found.shape == (-(-length // stride), 3 * size)
    for row, centre in zip(found, range(0, length, stride), strict=True):
        near = [centre - (size - 1) // 2 + i for i in range(size)]
        wanted = [xs[i] if 0 <= i < length else np.zeros(3) for i in near]
        np.testing.assert_array_equal(row, np.concatenate(wanted))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"must have shape \(N,\)"):
        log_mel(np.zeros((3, 2)), 8000)
    with pytest.raises(ValueError, match="`rate` must be a finite number of at least 40, got 20"):
        log_mel(np.zeros(3), 20)
    with pytest.raises(ValueError, match="must be at least 1, got 0, 1"):
        stack_steps(np.zeros((3, 2)), 0)
