"""Recorded sound: WAV files, and the energies of its mel bands over time."""

import functools
import warnings
from typing import NamedTuple

import numpy as np

from seqjax._checks import check_sizes
from seqjax._errors import first_line
from seqjax.data._checks import check_numbers
from seqjax.data._errors import DataError
from seqjax.data._text_file import AnyPath, regular_file

LOWEST_RATE, HIGHEST_RATE = 40, 1_000_000
"""Samples a second that a header may tell; others are damaged, or no sound."""


class Sound(NamedTuple):
    """A recording in one channel.

    Attributes:
      samples: from -1 to 1, float32 (N,).
      rate: samples a second.
    """

    samples: np.ndarray
    rate: int


def read_wav(path: AnyPath, *, rate: int | None = None) -> Sound:
    """Reads a WAV file of integers or floating-point numbers; several channels are averaged.

    Args:
      path: the file.
      rate: samples a second that the file must have; any by default.

    Returns:
      The recording: `samples` from -1 to 1, float32 (N,), and `rate`, samples a second.

    Raises:
      DataError: if the file is missing, no WAV file, damaged, empty, or of another rate or one
        that is below 40 or above 1,000,000.

    Example:
      >>> read_wav("seven.wav").rate  # doctest: +SKIP
      8000
    """
    path = regular_file(path)
    # Imported here: `import seqjax.data` needs NumPy only.
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that hold no sound
            found, samples = wavfile.read(path)
    except Exception as error:  # its parser raises whatever a broken header leads to
        raise DataError(
            f"audio: {path} must be a WAV file, and cannot be read: {first_line(error)}."
        ) from None
    if not samples.size:
        raise DataError(f"audio: {path} must hold sound, and has no sample.")
    if not LOWEST_RATE <= found <= HIGHEST_RATE:
        raise DataError(
            f"audio: {path} must have from {LOWEST_RATE} to {HIGHEST_RATE} samples a second, got "
            f"{found}. Its header is damaged."
        )
    if rate is not None and found != rate:
        raise DataError(
            f"audio: {path} must have {rate} samples a second, got {found}. Resample it, for "
            f"example with `sox IN -r {rate} OUT`."
        )
    if samples.dtype.kind == "u":  # 8 bits, around 128
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":  # those of 24 bits are given as the upper part of 32
        samples = samples.astype(np.float32) / (np.iinfo(samples.dtype).max + 1)
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise DataError(f"audio: {path} must hold finite samples, got NaN or infinity.")
    return Sound(samples.mean(axis=1) if samples.ndim == 2 else samples, int(found))


def log_mel(
    samples: np.ndarray,
    rate: int,
    *,
    num_mels: int = 40,
    window_s: float = 0.025,
    hop_s: float = 0.01,
) -> np.ndarray:
    """Returns the logarithm of the energy in mel bands, frame after frame.

        X_t = FFT(hann * x[t hop : t hop + window]),   y_t = log(W |X_t|^2 + 1e-6)

    `W` are triangles of equal width in mel, 2595 log10(1 + f / 700). The first frame begins with
    the first sample; the last one that holds new samples is filled with zeros.

    Args:
      samples: shape (N,), N at least 1.
      rate: samples a second.
      num_mels: bands.
      window_s: seconds of a frame.
      hop_s: seconds from one frame to the next.

    Returns:
      Shape (frames, num_mels), float32; `frames = 1 + ceil(max(N - window, 0) / hop)`.

    Raises:
      ValueError: if `samples` is not one channel, a size is too small or the rate beyond those
        that `read_wav` reads, or there are more bands than fit the rate.

    Example:
      >>> tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000)
      >>> bands = log_mel(tone, 8000)
      >>> bands.shape, set(bands.argmax(1).tolist()) <= {18, 19}
      ((49, 40), True)

    Reference: Davis and Mermelstein (1980), Comparison of parametric representations for
    monosyllabic word recognition (without their cosine transform).
    """
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"log_mel: `samples` must have shape (N,), N > 0, got {samples.shape}.")
    check_sizes("log_mel", num_mels=num_mels)
    check_numbers("log_mel", at_least=LOWEST_RATE, rate=rate)
    check_numbers("log_mel", window_s=window_s, hop_s=hop_s)
    if rate > HIGHEST_RATE:
        raise ValueError(f"log_mel: `rate` must be at most {HIGHEST_RATE}, got {rate}.")
    window, hop = round(window_s * rate), round(hop_s * rate)
    if window < 2 or hop < 1:
        raise ValueError(
            f"log_mel: a frame must be at least 2 samples and a hop 1, got {window} and {hop}."
        )
    frames = 1 + -(-max(len(samples) - window, 0) // hop)
    padded = np.pad(samples, (0, max(0, (frames - 1) * hop + window - len(samples))))
    cut = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][:frames]
    # Periodic, so that windows which overlap by half add up to one.
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    num_fft = 1 << (window - 1).bit_length()
    power = np.abs(np.fft.rfft(cut * hann, num_fft)) ** 2
    return np.log(power @ mel_filters(num_mels, num_fft, rate).T + 1e-6).astype(np.float32)


@functools.cache
def mel_filters(num_mels: int, num_fft: int, rate: int) -> np.ndarray:
    """Returns the triangular filters that sum power over mel bands.

        m(f) = 2595 log10(1 + f / 700)

    The centres of the bands lie at equal distances in m between 0 and half the rate; a triangle
    has height 1 at its centre and falls to 0, in Hz, at the centres of its neighbours.

    Args:
      num_mels: bands.
      num_fft: length of the Fourier transform.
      rate: samples a second.

    Returns:
      Shape (num_mels, num_fft / 2 + 1), float64, not to be written to.

    Raises:
      ValueError: if there are so many bands that one lies between two frequencies of the transform.

    Example:
      >>> mel_filters(40, 256, 8000).shape
      (40, 129)

    Reference: O'Shaughnessy (1987), Speech communication (the formula, that of HTK).
    """
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)
    frequencies = np.arange(num_fft // 2 + 1) * rate / num_fft
    low, centre, high = (edges[i : i + num_mels, None] for i in range(3))
    rising = (frequencies - low) / (centre - low)
    falling = (high - frequencies) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling))
    if not filters.any(axis=1).all():
        raise ValueError(
            f"mel_filters: a band of num_mels={num_mels} lies between the frequencies of a "
            f"transform of {num_fft} samples at {rate} a second. Take fewer bands, or longer "
            "frames."
        )
    filters.setflags(write=False)
    return filters
