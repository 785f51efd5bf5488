"""Tables updated by the row end where those updated as a whole do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from seqjax.train import LazyTables, data_mesh, make_train_step, shard
from seqjax.train._record import params_sha256
from seqjax.train._state import evaluation_params
from seqjax.train._tables import ReadRows, Table, _miss, _nothing_missed, catch_up

ROWS, FEATURES, STEPS = 400, 3, 60
READ = ROWS // 2  # rows from here on are never read
COSINE = optax.warmup_cosine_decay_schedule(1e-3, 1e-2, 10, STEPS, 1e-4)


def rate(step):
    """In the widest precision there is, where Optax would count in float32."""
    return COSINE(jnp.asarray(step, float))


READS = {"table": lambda batch: batch["tokens"]}


def loss(params, key, batch):
    vectors = params["table"].take(batch["tokens"], axis=0, mode="clip")
    error = jnp.tanh(vectors @ params["kernel"]) - batch["y"]
    return jnp.mean(error**2), {"weight": jnp.ones(())}


def init(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    shapes = {"table": (ROWS, FEATURES), "kernel": (FEATURES, 2)}
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def batches(seed=1, num=STEPS, dtype=np.float32):
    """Few rows a batch, some often and some after a long time, the same row twice in one."""
    rng = np.random.default_rng(seed)
    for i in range(num):
        rows = rng.integers(0, READ if i % 20 == 3 else 12, (4, 5))
        yield {"tokens": rows, "y": rng.normal(size=(4, 5, 2)).astype(dtype)}


@functools.cache
def make(lazy, *, ema_decay=0.99, clip=0.05, eps=1e-8, num_devices=1):
    def decays(params):
        return {name: name != "table" for name in params}

    optimizer = optax.adamw(rate, eps=eps, weight_decay=0.1, mask=decays)
    if clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(clip), optimizer)
    return make_train_step(
        loss,
        optimizer,
        ema_decay=ema_decay,
        mesh=data_mesh(num_devices),
        tables=LazyTables(READS, rate, eps=eps) if lazy else None,
    )


def trained(step, dtype=jnp.float32):
    state = step.init(init(dtype), jax.random.key(0))
    records = []
    for batch in batches(dtype=dtype):
        state, record = step.update(state, shard(step.mesh, batch))
        records.append(record)
    return state, records


def apart(one, other):
    return max(jax.tree.leaves(jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), one, other)))


def moments(state):
    inner = getattr(state.opt_state, "optimizer", state.opt_state)
    return optax.tree.get(inner, "mu"), optax.tree.get(inner, "nu")


@pytest.mark.parametrize("ema_decay", [None, 0.99])
@pytest.mark.parametrize("clip", [None, 0.05])
def test_equals_the_dense_update(ema_decay, clip):
    options = {"ema_decay": ema_decay, "clip": clip}
    (dense, expected), (lazy, records) = (trained(make(x, **options)) for x in (False, True))
    assert apart(dense.params, lazy.params) > 1e-2  # rows wait
    settled = make(True, **options).settle(lazy)
    assert apart(dense.params, settled.params) < 1e-5
    assert apart(moments(dense), moments(settled)) < 1e-6
    assert apart(evaluation_params(dense), evaluation_params(settled)) < 1e-5
    for one, other in zip(expected, records, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, other)


def test_equals_the_dense_update_in_double_precision(x64):
    # With a smaller eps the equations of tables.py are exact.
    options = {"eps": 1e-15}
    dense, _ = trained(make(False, **options), np.float64)
    lazy, _ = trained(make(True, **options), np.float64)
    settled = make(True, **options).settle(lazy)
    assert apart(dense.params, init(np.float64)) > 0.1
    assert apart(dense.params, settled.params) < 1e-10
    assert apart(dense.average, settled.average) < 1e-10


@pytest.mark.parametrize(
    ("step", "tolerance"), [(1, 0.05), (10, 0.011), (100, 5e-4), (1000, 2e-5), (20_000, 2e-5)]
)
def test_tolerance_where_eps_matters(step, tolerance, x64):
    """As stated in the module, for roots of the second moment from far below eps to far above."""
    rate, eps, gap = 0.01, 1e-8, 150
    tables = LazyTables({}, rate, eps=eps)
    second = 10.0 ** np.linspace(-30, 0, 400)[:, None]
    first = np.sqrt(second)
    values = np.zeros_like(second)
    behind = _nothing_missed(jnp.asarray(values))
    for n in range(step, step + gap):
        behind = _miss(tables, behind, jnp.asarray(n), jnp.asarray(0.9))
    got = catch_up(Table(values, first, second, values + 1), behind, eps)
    m, v, w, average = first, second, values, values + 1
    for n in range(step + 1, step + gap + 1):
        m, v = 0.9 * m, 0.999 * v
        w = w - rate * m / (1 - 0.9**n) / (np.sqrt(v / (1 - 0.999**n)) + eps)
        average = w + 0.9 * (average - w)
    np.testing.assert_allclose(got.first_moment, m, rtol=1e-9)
    np.testing.assert_allclose(got.second_moment, v, rtol=1e-9)
    off = np.abs(got.values / w - 1)
    assert tolerance / 20 < off.max() < tolerance
    assert off[0] < 1e-5
    assert off[-1] < 1e-5
    np.testing.assert_allclose(got.average, average, rtol=tolerance)


def test_a_row_never_read_keeps_its_bits():
    step = make(True)
    state, _ = trained(step)
    for tree in (state, step.settle(state)):
        for table in (tree.params["table"], tree.average["table"]):
            np.testing.assert_array_equal(table[READ:], init()["table"][READ:])
            assert not np.array_equal(table[:12], init()["table"][:12])


def test_only_what_is_read_is_computed():
    """No array as large as the table is made, but by writing rows into it."""
    step = make(True)
    state = step.init(init(), jax.random.key(0))
    made = set()

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            inner = [p.jaxpr for p in equation.params.values() if hasattr(p, "jaxpr")]
            for each in inner:
                visit(each)
            shapes = [v.aval.shape for v in equation.outvars if hasattr(v.aval, "shape")]
            if (ROWS, FEATURES) in shapes and not inner:
                made.add(str(equation.primitive))

    visit(jax.make_jaxpr(step.update)(state, next(batches())).jaxpr)
    assert made == {"scatter"}


def test_two_devices_equal_one():
    one, two = make(True), make(True, num_devices=2)
    (first, expected), (second, records) = trained(one), trained(two)
    assert len(second.params["table"].sharding.device_set) == 2
    first, second = (jax.device_get(s.settle(x)) for s, x in ((one, first), (two, second)))
    assert apart(first.params, second.params) < 1e-5
    assert apart(first.average, second.average) < 1e-5
    np.testing.assert_allclose(expected[-1]["loss"], records[-1]["loss"], rtol=1e-5)


def test_settling_leaves_the_state_and_what_follows():
    step = make(True)
    state, _ = trained(step)
    again = step.settle(step.settle(state))
    assert params_sha256(step.settle(state).params) == params_sha256(again.params)
    batch = next(batches(seed=5))
    dense, _ = make(False).update(trained(make(False))[0], batch)
    for before in (again, state):  # `update` uses up its state, which settling must not
        after, _ = step.update(before, batch)
        assert apart(step.settle(after).params, dense.params) < 1e-5


def fit(folder, step, **changes):
    # What validation is given must have caught up: the metric looks at all rows.
    def validate(params):
        return {"mse": jnp.mean(params["table"] ** 2), "sum": params["table"].sum()}

    def epoch_batches(epoch):
        return batches(seed=epoch, num=7)

    settings = {"validate": validate, "train_batches": epoch_batches, **changes}
    return toy.train(folder, step=step, params=init(), **settings)


def test_resumed_run_ends_with_the_same_bits(tmp_path):
    class Stopped(Exception):
        pass

    def stopping(epoch):
        yield from batches(seed=epoch, num=7 if epoch == 1 else 6)
        if epoch > 1:
            raise Stopped

    whole = fit(tmp_path / "whole", make(True))
    with pytest.raises(Stopped):
        fit(tmp_path / "cut", make(True), train_batches=stopping)
    resumed = fit(tmp_path / "cut", make(True), resume=True)
    assert params_sha256(resumed.params) == params_sha256(whole.params)
    assert resumed.validation == whole.validation
    dense = fit(tmp_path / "dense", make(False))
    assert apart(whole.params, dense.params) < 1e-5
    assert whole.validation == pytest.approx(dense.validation, rel=1e-4)


def test_probe_sees_tables_that_have_caught_up(tmp_path):
    seen = {}
    for lazy in (False, True):
        found = seen.setdefault(lazy, [])
        fit(
            tmp_path / str(lazy),
            make(lazy),
            epochs=1,
            probe=lambda params, found=found: found.append(params["table"].sum()) or {},
        )
    assert len(seen[True]) == 2
    np.testing.assert_allclose(seen[True], seen[False], atol=1e-3)


def test_a_row_that_was_not_announced_is_nan():
    tables = LazyTables({"table": lambda batch: batch["tokens"][:, :2]}, rate)
    step = make_train_step(loss, optax.adam(rate), mesh=data_mesh(1), tables=tables)
    _, record = step.update(step.init(init(), jax.random.key(0)), next(batches()))
    assert np.isnan(record["loss"])
    assert record["not_finite"].any()


@pytest.mark.parametrize(
    ("tables", "optimizer", "match"),
    [
        (
            LazyTables({"words": len}, rate),
            optax.adam(rate),
            "'words' must be .* kernel, table only",
        ),
        (LazyTables({"bias": len}, rate), optax.adam(rate), r"two axes, got shape \(2,\)"),
        (LazyTables(READS, rate), optax.sgd(rate), "moments of one Adam.*got 0"),
        (
            LazyTables(READS, 2e-3),
            optax.adam(1e-3),
            "'table' as Adam .* an update without gradient",
        ),
        (LazyTables(READS, rate, b1=0.8), optax.adam(rate), "Give both the same numbers"),
        (LazyTables(READS, rate), optax.adamw(rate), "no weight decay of it"),
    ],
)
def test_refuses(tables, optimizer, match):
    params = init() | ({"bias": jnp.zeros(2)} if "bias" in tables.reads else {})
    step = make_train_step(loss, optimizer, mesh=data_mesh(1), tables=tables)
    with pytest.raises(ValueError, match=match):
        step.init(params, jax.random.key(0))


def test_rows_are_read_one_way():
    rows = ReadRows(jnp.ones((2, 3)), jnp.array([0, 1, 2, 2]))
    assert rows.shape == (4, 3)
    assert jnp.isnan(rows.take(jnp.array([0, 3]))).tolist() == [[False] * 3, [True] * 3]
    with pytest.raises(ValueError, match=r"got axis=0 and mode='wrap'"):
        rows.take(jnp.array([0]), mode="wrap")
