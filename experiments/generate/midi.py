"""Music as a MIDI file, by the library mido."""

import io

import mido
import numpy as np

from seqjax.data._chorales import LOWEST

_VELOCITY = 72


def midi_bytes(roll: np.ndarray, *, beats_per_minute: float = 80.0) -> bytes:
    """Returns a piano roll as a MIDI file; a note that goes on sounding is held.

    Args:
      roll: shape (steps, 88), 1 where a note sounds; each step is a quarter note.
      beats_per_minute: quarter notes in a minute.

    Returns:
      The content of the file.

    Example:
      >>> midi_bytes(data.piano_roll([[60, 64], [60]]))[:4]
      b'MThd'
    """
    file = mido.MidiFile(type=0)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(beats_per_minute)))
    silence = np.zeros((1, roll.shape[1]))
    changes = np.diff(roll, axis=0, prepend=silence, append=silence)
    waited = 0
    for change in changes:
        # Notes end before others begin, as the keys of a piano do.
        for kind, sign in (("note_off", -1), ("note_on", 1)):
            for note in np.flatnonzero(change == sign).tolist():
                track.append(
                    mido.Message(kind, note=note + LOWEST, velocity=_VELOCITY, time=waited)
                )
                waited = 0
        waited += file.ticks_per_beat
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()
