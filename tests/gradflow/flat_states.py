"""States of one example as real vectors in NumPy, found without the library's help."""

import numpy as np


def as_vector(state):
    """Returns the real numbers of a state: of a complex field the real parts, then the imaginary.

    Booleans are no numbers of a state: nothing can be differentiated by them.
    """
    parts = []
    for field in map(np.asarray, state):
        if np.iscomplexobj(field):
            parts += [field.real.ravel(), field.imag.ravel()]
        elif field.dtype != bool:
            parts.append(field.ravel())
    return np.concatenate(parts)


def as_state(vector, like):
    """Returns the state of a vector; booleans come from `like`."""
    fields, vector = [], list(vector)
    for field in map(np.asarray, like):
        numbers, vector = _split(vector, field)
        fields.append(field if numbers is None else numbers)
    return tuple(fields)


def _split(vector, field):
    if field.dtype == bool:
        return None, vector
    taken = field.size * (2 if np.iscomplexobj(field) else 1)
    numbers, rest = np.array(vector[:taken]), vector[taken:]
    if np.iscomplexobj(field):
        numbers = numbers[: field.size] + 1j * numbers[field.size :]
    return numbers.reshape(field.shape), rest
