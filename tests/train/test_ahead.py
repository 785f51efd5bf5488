"""Thousands of programs whose results nobody looks at in between, see `processes.AHEAD`."""

import pytest
from fresh import output_of

CODE = """
import jax, jax.numpy as jnp
from seqjax import train

train.use_all_cores(2)
xs = train.split_batch(jnp.ones((8, 64)))
added_up = jax.jit(lambda x, y: (x @ y.T).sum())
print(len(train.fetch_each(added_up(xs, xs) for _ in range(20_000))))
"""


@pytest.mark.extended
def test_devices_do_not_lock_each_other():
    assert output_of(CODE).strip() == "20000"
