"""What tests of training share."""

import gc
import time

import pytest


@pytest.fixture
def abandoned_reads():
    """Waits for what Orbax abandons where a file cannot be read, so that no other test meets it."""
    yield
    time.sleep(0.2)
    gc.collect()
