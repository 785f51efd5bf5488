"""The readers and converters that `fuzz.py` feeds, and the faults that it draws."""
