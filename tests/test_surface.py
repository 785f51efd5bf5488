"""Every public callable refuses wrong arguments before it is traced, in one line that mends them.

A new public name needs a row here, or a place in `EXEMPT` with the reason.
"""

import importlib
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import seqjax
from seqjax import cells, nn, online

PACKAGES = (
    "seqjax",
    "seqjax.nn",
    "seqjax.cells",
    "seqjax.gradflow",
    "seqjax.executors",
    "seqjax.convert",
    "seqjax.transforms",
    "seqjax.flax",
    "seqjax.online",
)
EXEMPT = {
    "an error, a protocol, an executor without options": "ConvertError Executor Associative",
    "made by `from_step`": "StepCell",
    "the base class of methods, without one of its own": "Method",
    "takes any array": "time_scale",
    "a record that `unroll` makes for an executor": "Run",
}  # and records of arrays, which check nothing

KEY = jax.random.key(0)
CELL, OTHER = seqjax.lstm(4), seqjax.lstm(6)
PARAMS, OTHERS = CELL.init(KEY, 3), OTHER.init(KEY, 3)
XS = jnp.ones((5, 2, 3))
TOKENS = jnp.ones((2, 5), int)
RNGS = nnx.Rngs(0)
EMBEDDING, LAYER = nn.Embedding(10, 3, rngs=RNGS), nn.RNN(CELL, 3, rngs=RNGS)
ATTENTION = nn.Attention("dot", 4, 4, rngs=RNGS)


def identity(state, **gates):
    return state


def same(params, carry, x=None):
    return carry, carry


def scalar(ys, state):
    return ys.sum()


def sum_of(y, target):
    return y


LAYER_NORM = seqjax.layer_norm_gru(4)


def at_least(name, size=0, least=1):
    return f"`{name}` must be an integer of at least {least}, got {size}"


NO_CELL = "`cell` must be a cell such as seqjax.lstm(64), got 3."
NO_RNGS = "`rngs` must be flax.nnx.Rngs(seed), got 0."
RATE = "must lie in [0, 1), got "
LINEAR = {"init": lambda key, size, dtype: (), "coefficients": lambda params, xs: (xs, xs)}
GATED = {"gates": ("a",), "update": identity}
CLASSIFIER = {"num_classes": 2, "rngs": RNGS}
HALVES = {"a": jnp.full(9, 0.5)}

# Name: pairs of a call and what the message must hold. Names in two packages need one row.
ROWS = {
    "unroll": [
        (lambda f: f(PARAMS, CELL, XS), "the first argument must be a cell, got GatedParams."),
        (lambda f: f(CELL, OTHERS, XS), "`input_kernel` of lstm(4) for 3 features must have shape"),
        (lambda f: f(CELL, PARAMS, XS[..., :2]), "must have in_size = 3 features on its last axis"),
        (lambda f: f(CELL, PARAMS, XS, lengths=jnp.array([6, 1])), "must lie in 0 ... T = 5"),
        (lambda f: f(CELL, PARAMS, XS, executor="fast"), "unknown executor 'fast'"),
    ],
    "step": [(lambda f: f(CELL, OTHERS, XS[0]), "must have shape (3, 16), got (3, 24).")],
    "make_cell": [
        (lambda f: f("LSTM", 4), "Did you mean 'lstm'?"),
        (lambda f: f("lstm", 4, heads=2), "unexpected keyword argument 'heads'. Its options are"),
    ],
    "register_cell": [
        (lambda f: f(3, seqjax.lstm), "`name` must be a string, got 3."),
        (lambda f: f("mine", 3), "must be a function that can be called as constructor(hidden"),
    ],
    "chrono": [
        (lambda f: f(2.0), "must be greater than 2 steps, got 2.0."),
        (lambda f: f(9.0, sign=0.5), "`sign` must be 1 or -1, got 0.5."),
    ],
    "gated_cell": [
        (lambda f: f("x", 0, **GATED), at_least("hidden_size")),
        (lambda f: f("x", 4, **(GATED | {"gates": "ab"})), "`gates` must be a sequence of names"),
        (
            lambda f: f("x", 4, **(GATED | {"update": lambda state, b: state})),
            "`update` must be a function that can be called as update(state, a=...), got",
        ),
        (lambda f: f("x", 4, **GATED, kernel_init="zeros"), "as kernel_init(key, shape, dtype)"),
    ],
    "linear_cell": [
        (
            lambda f: f("x", 4, **(LINEAR | {"init": 3})),
            "called as init(key, in_size, dtype), got 3",
        ),
        (lambda f: f("x", 4, **LINEAR, uses_starts=True), "as coefficients(params, xs, starts)"),
        (lambda f: f("x", 4, **LINEAR, full_precision="decay"), "must be a sequence of names"),
        (lambda f: f("x", 4, **LINEAR, state_shape=(4, 0)), at_least("state_shape[1]")),
    ],
    "conv_lstm": [(lambda f: f(8), "`hidden_size` must be (height, width, channels), got 8.")],
    "lru": [(lambda f: f(4, state_size=0), "`state_size` must be at least 1")],
    "rg_lru": [(lambda f: f(4, heads=3), "`heads` must divide hidden_size = 4")],
    "slstm": [(lambda f: f(4, block_ratio=2.0), "must lie in [0, 1], got 2.0.")],
    "affine": [
        (lambda f: f(XS, jnp.ones((4, 2))), "must have in_size = 4 features on its last axis"),
        (lambda f: f(XS, jnp.ones((3, 2)), jnp.ones(3)), "`bias` must have shape (N,) = (2,)"),
    ],
    "Cell": [(lambda f: f(0), at_least("hidden_size"))],
    "LinearCell": [(lambda f: f(2.5), at_least("hidden_size", 2.5))],
    "AssociativeCell": [(lambda f: f(0), at_least("hidden_size"))],
    "MatrixCell": [(lambda f: f(0), at_least("hidden_size"))],
    "GatedCell": [(lambda f: f(4, **(GATED | {"gates": ()})), "one or more distinct names")],
    "RNN": [
        (lambda f: f("lstm", 8, rngs=RNGS), "`cell` must be a cell such as seqjax.lstm(64)"),
        (lambda f: f(8, 16, rngs=RNGS), "Call RNN(cell, in_size, rngs=rngs)."),
        (lambda f: f(CELL, 0, rngs=RNGS), at_least("in_size")),
        (lambda f: f(CELL, 3, rngs=0), NO_RNGS),
        (lambda f: LAYER(jnp.ones((2, 6, 5))), "(*B, T, D) with in_size D = 3, got (2, 6, 5)."),
        (
            lambda f: LAYER(jnp.ones((2, 6, 3)), lengths=jnp.ones(6, int)),
            "seqjax.nn.RNN: `lengths` must have shape (*B,) = (2,), got (6,).",
        ),
        (
            lambda f: LAYER(jnp.ones((2, 6, 3)), mask=jnp.ones((6, 2), bool)),
            "`mask` must have shape (*B, T) = (2, 6), got (6, 2). Layers are batch first.",
        ),
        (
            lambda f: LAYER(jnp.ones((2, 6, 3)), initial_state=CELL.initial_state(None, (6,))),
            "seqjax.nn.RNN: `initial_state` must have shape (*B,) = (2,), got (6,).",
        ),
        (
            lambda f: LAYER.step(jnp.ones((2, 5))),
            "`x` must have shape (*B, D) = (2, 3), got (2, 5)",
        ),
    ],
    "Bidirectional": [
        (lambda f: f(CELL, 3, merge="ave", rngs=RNGS), "one of concat, sum, mul, mean, none"),
        (
            lambda f: f(CELL, 3, rngs=RNGS)(XS, initial_state=CELL.initial_state(None, (5,))),
            "`initial_state` must be (LSTMState, LSTMState), got LSTMState.",
        ),
    ],
    "Stack": [
        (
            lambda f: f(LAYER),
            "must be a sequence of recurrent layers such as RNN, got the RNN",
        ),
        (
            lambda f: f([CELL]),
            "`layers[0]` must be a recurrent layer such as RNN, got",
        ),
        (lambda f: f([LAYER], dropout=1.5), f"`dropout` {RATE}1.5."),
    ],
    "S5Block": [(lambda f: f(0, rngs=RNGS), at_least("size"))],
    "MambaBlock": [(lambda f: f(4, rngs=3), "`rngs` must be flax.nnx.Rngs(seed), got 3")],
    "XLSTMBlock": [(lambda f: f(4, kind="gru", rngs=RNGS), "`kind` must be one of mlstm, slstm")],
    "TDNN": [
        (lambda f: f(0, 4, rngs=RNGS), at_least("in_size")),
        (lambda f: f(3, 4, before=-1, rngs=RNGS), at_least("before", -1, 0)),
        (lambda f: f(3, 4, rngs=RNGS)(XS, lengths=jnp.full(5, 3)), "must lie in 0 ... T = 2"),
    ],
    "Embedding": [
        (lambda f: f(10, 0, rngs=RNGS), at_least("features")),
        (lambda f: f(10, 3, pair_features=-1, rngs=RNGS), at_least("pair_features", -1, 0)),
        (lambda f: f(10, 3, pair_buckets=0, rngs=RNGS), at_least("pair_buckets")),
        (lambda f: f(10, 3, dropout=-1, rngs=RNGS), f"`dropout` {RATE}-1."),
        (lambda f: f(10, 3, token_dropout=1.0, rngs=RNGS), f"`token_dropout` {RATE}1.0."),
        (lambda f: f(10, 3, rngs=0), NO_RNGS),
        (lambda f: EMBEDDING(jnp.array([10, 99, -1])), "= 9, got values from -1 to 99."),
    ],
    "Pooling": [
        (lambda f: f("both", 8, rngs=RNGS), "one of last, middle, mean, max, mean_max, attention"),
        (lambda f: f("mean", 0, rngs=RNGS), at_least("in_size")),
        (
            lambda f: f("mean", 3, rngs=RNGS)(XS, jnp.ones((5, 3), bool)),
            "`mask` must have shape (*B, T) = (5, 2), got (5, 3).",
        ),
        (lambda f: f("mean", 3, rngs=RNGS)(XS, jnp.ones((5, 2))), "`mask` must be boolean"),
    ],
    "Attention": [
        (lambda f: f("cosine", 4, 4, rngs=RNGS), "must be one of additive, dot, general"),
        (lambda f: f("additive", 4, 4, hidden_size=0, rngs=RNGS), at_least("hidden_size")),
        (
            lambda f: ATTENTION.memory(jnp.ones((2, 5, 4)), lengths=jnp.ones(3, int)),
            "seqjax.nn.Attention: `lengths` must have shape (*B,) = (2,), got (3,).",
        ),
    ],
    "AttentionDecoder": [
        (lambda f: f(EMBEDDING, LAYER, ATTENTION, rngs=RNGS), "must be a sequence of RNN layers"),
        (lambda f: f(EMBEDDING, [LAYER], ATTENTION, rngs=0), NO_RNGS),
        (lambda f: f(EMBEDDING, [LAYER], ATTENTION, dropout=1, rngs=RNGS), f"`dropout` {RATE}1."),
        (
            lambda f: f(
                EMBEDDING, [nn.RNN(CELL, 3, reverse=True, rngs=RNGS)], ATTENTION, rngs=RNGS
            ),
            "`layers[0]` must run forwards, got reverse=True.",
        ),
        (
            lambda f: f(EMBEDDING, [LAYER], ATTENTION, rngs=RNGS)(None, TOKENS, None),
            "`initial_state` must be DecoderState, got NoneType.",
        ),
    ],
    "activation_loss": [
        (
            lambda f: f(XS, lengths=jnp.full(5, 9)),
            "seqjax.nn.activation_loss: `lengths` must lie in",
        ),
    ],
    "temporal_activation_loss": [
        (lambda f: f(XS, resets=jnp.ones((2, 5), bool)), "must have shape (B, T) = (5, 2), got"),
    ],
    "Seq2Seq": [
        (lambda f: f(LAYER, EMBEDDING, None, rngs=RNGS), "`embedding` must be a seqjax.nn.Emb"),
        (lambda f: f(EMBEDDING, LAYER, None, rngs=RNGS), "`decoder` must be a seqjax.nn.Attention"),
    ],
    "SequenceClassifier": [
        (lambda f: f(EMBEDDING, LAYER, num_classes=0, rngs=RNGS), at_least("num_classes")),
        (lambda f: f(EMBEDDING, LAYER, **CLASSIFIER, hidden_size=0), at_least("hidden_size")),
        (
            lambda f: f(EMBEDDING, LAYER, **CLASSIFIER, pooling="mean", segment_length=0),
            at_least("segment_length"),
        ),
        (lambda f: f(EMBEDDING, LAYER, **CLASSIFIER, dropout=2), f"`dropout` {RATE}2."),
        (lambda f: f(EMBEDDING, EMBEDDING, **CLASSIFIER), "`recurrent` must be a layer such as"),
        (
            lambda f: f(nn.Embedding(9, 5, rngs=RNGS), LAYER, **CLASSIFIER),
            "must have in_size = 5, the features of the embedding, got 3.",
        ),
        (
            lambda f: f(EMBEDDING, LAYER, **CLASSIFIER)(TOKENS, jnp.array([9, 1])),
            "seqjax.nn.SequenceClassifier: `lengths` must lie in 0 ... T = 5",
        ),
    ],
    "CRF": [
        (lambda f: f(0), at_least("num_tags")),
        (lambda f: f(3).nll(XS, jnp.full((5, 2), -1)), "`tags` must lie in 0 ... num_tags - 1 = 2"),
        (lambda f: f(3).nll(XS, jnp.ones((5, 2))), "`tags` must be integers, got float32."),
        (lambda f: f(3).decode(XS, jnp.ones(2, int)), "seqjax.nn.CRF: `lengths` must have shape"),
    ],
    "mask_steps": [
        (lambda f: f(KEY, XS, jnp.ones(5, int), num=-1, size=1), at_least("num", -1, 0)),
        (lambda f: f(KEY, XS, jnp.ones(2, int), num=1, size=1), "(*B,) = (5,), got (2,)."),
    ],
    "mask_features": [
        (lambda f: f(KEY, XS, num=1, size=-2), at_least("size", -2, 0)),
        (lambda f: f(KEY, XS[0], num=1, size=2), "`xs` must have shape (B, T, D), got (2, 3)."),
    ],
    "make_step": [
        (lambda f: f(3), "`module` must be a flax.nnx.Module, got 3."),
        (lambda f: f(LAYER, lambda x: x), "can be called as call(module, x, state), got"),
    ],
    "num_params": [(lambda f: f(3), "`module` must be a flax.nnx.Module, got 3.")],
    "summary": [(lambda f: f(3), "`module` must be a flax.nnx.Module, got 3.")],
    "choose": [(lambda f: f(3), NO_CELL)],
    "Sequential": [
        (lambda f: f(chunk_size=0), at_least("chunk_size")),
        (lambda f: f(residuals="all"), "must be one of auto, gates, states, boundaries, got 'all'"),
        (lambda f: f(truncation=(2, 1)), "integers (k1, k2) with 1 <= k1 <= k2"),
    ],
    "Chunked": [(lambda f: f(chunk_size=0), at_least("chunk_size"))],
    "Newton": [
        (lambda f: f(tolerance=0), "`tolerance` must be a number above 0, got 0."),
        (lambda f: f(max_iterations=0), at_least("max_iterations")),
        (lambda f: f(jacobian="full"), "must be one of auto, dense, diagonal, got 'full'"),
        (lambda f: f(damping=1.0), "`damping` must lie in [0, 1), got 1.0."),
        (lambda f: f(report=3), "that can be called as report(report), got 3"),
    ],
    "newton_report": [
        (lambda f: f(PARAMS, CELL, XS), "`cell` must be a cell such as seqjax.lstm(64), got"),
        (lambda f: f(seqjax.lru(4), PARAMS, XS), "Newton cannot run lru(4): the cell is linear"),
        (lambda f: f(CELL, PARAMS, XS, executor="newton"), "must be a seqjax.executors.Newton()"),
        (lambda f: f(CELL, PARAMS, XS[:0]), "must have at least one step, got shape (0, 2, 3)."),
    ],
    "advise": [
        (lambda f: f(PARAMS, CELL, XS), "`cell` must be a cell such as seqjax.lstm(64), got"),
        (lambda f: f(CELL, PARAMS, XS, executor="newton"), "must be a seqjax.executors.Newton()"),
        (lambda f: f(CELL, PARAMS, XS[:0]), "with T at least 1, got (0, 2, 3)."),
    ],
    "Scan": [(lambda f: f(state_gradient_clip=0), "must be a number above 0, got 0.")],
    "clipping_statistics": [
        (lambda f: f(jnp.ones((2, 2)), 1.0), "must have shape (updates,)"),
        (lambda f: f(jnp.ones(2), -1.0), "`threshold` must be above 0, got -1.0."),
    ],
    "gate_preactivations": [(lambda f: f(seqjax.lru(4), PARAMS, XS), "must be a GatedCell")],
    "gate_activations": [
        (lambda f: f(CELL, PARAMS, XS, functions={"x": None}), "must name gates among ('input',"),
    ],
    "retention": [(lambda f: f(cells.Cell(4), PARAMS, XS), "a GatedCell or a LinearCell")],
    "saturation": [(lambda f: f(jnp.ones(2), low=1, high=0), "`low` must be below `high`")],
    "gradient_norms": [
        (lambda f: f({}), "must hold arrays, got an empty dict."),
        (lambda f: f(PARAMS, depth=-1), at_least("depth", -1, 0)),
        (lambda f: f(PARAMS, gates="ifgo"), "`gates` must be a sequence of names, got 'ifgo'."),
    ],
    "step_jacobians": [
        (lambda f: f(3, PARAMS, XS), NO_CELL),
        (lambda f: f(CELL, PARAMS, XS, method="x"), "one of auto, structured, autodiff, got 'x'."),
    ],
    "lyapunov_exponents": [
        (lambda f: f(CELL, PARAMS, XS, every=0), "`every` must be at least 1"),
        (lambda f: f(CELL, PARAMS, XS, num_exponents=9), "must lie between 1 and the 8 numbers"),
    ],
    "state_gradients": [
        (lambda f: f(3, PARAMS, XS, scalar), NO_CELL),
        (
            lambda f: f(CELL, PARAMS, XS, lambda ys: 0),
            "can be called as loss(ys, final_state), got",
        ),
        (lambda f: f(CELL, OTHERS, XS, scalar), "must have shape (3, 16), got (3, 24)."),
    ],
    "state_gradient_norms": [(lambda f: f(3, PARAMS, XS, scalar), NO_CELL)],
    "summarise_norms": [
        (lambda f: f(jnp.ones((5, 2)), jnp.array([9, 1])), "must lie in 0 ... T = 5, got values"),
        (lambda f: f(jnp.ones((5, 2)), jnp.array([1])), "must have shape (*B,) = (2,), got (1,)."),
    ],
    "product_singular_values": [
        (lambda f: f(jnp.ones((5, 2, 2)), lags=[0]), at_least("lags[0]")),
        (lambda f: f(jnp.ones((5, 2, 2)), lags=[1.5]), at_least("lags[0]", 1.5)),
        (lambda f: f(jnp.ones((5, 2, 2)), lags=[6]), "must be between 1 and T = 5, got [6]."),
    ],
    "largest_singular_value": [
        (lambda f: f(jnp.ones(2)), "must have shape (..., M, N), got (2,).")
    ],
    "spectral_radius": [
        (lambda f: f(jnp.eye(2), method="x"), "must be one of eigenvalues, powers, got 'x'."),
        (lambda f: f(jnp.ones((2, 3))), "must have shape (..., N, N), got (2, 3)."),
    ],
    "recurrent_spectra": [
        (lambda f: f(3, PARAMS), NO_CELL),
        (lambda f: f(CELL, PARAMS, "ifgo"), "`gates` must be a sequence of names, got 'ifgo'."),
    ],
    "truncation_bias": [
        (lambda f: f(3, PARAMS, XS, scalar, [1]), NO_CELL),
        (lambda f: f(CELL, PARAMS, XS, scalar, [2, 1.5]), at_least("steps[1]", 1.5)),
        (lambda f: f(CELL, PARAMS, XS, scalar, []), "must hold one segment length or more"),
    ],
    "online_bias": [
        (lambda f: f(3, PARAMS, XS, scalar, [online.RTRL()]), NO_CELL),
        (lambda f: f(CELL, PARAMS, XS, scalar, []), "must hold one method or more, got none."),
        (
            lambda f: f(CELL, PARAMS, XS, scalar, ["rtrl"]),
            "`methods[0]` must be a method of seqjax.online",
        ),
        (lambda f: f(CELL, PARAMS, XS, scalar, [online.UORO()]), "UORO needs a random `key`"),
        (
            lambda f: f(CELL, PARAMS, XS, scalar, [online.RFLO()]),
            "the executor RFLO cannot run lstm(4): it is for networks without gates",
        ),
    ],
    "online_gradients": [
        (lambda f: f("rtrl", CELL, PARAMS, XS, scalar), "such as seqjax.online.RTRL(), got 'rtrl'"),
        (
            lambda f: f(online.RTRL(), CELL, PARAMS, XS, sum_of),
            "must be a scalar, got shape (2, 4)",
        ),
        (lambda f: f(online.RTRL(), 3, PARAMS, XS, scalar), NO_CELL),
        (lambda f: f(online.UORO(), CELL, PARAMS, XS, scalar), "`key` must be a random key, got N"),
        (
            lambda f: f(online.RTRL(), CELL, PARAMS, XS, scalar, key=KEY),
            "RTRL.init: takes no `key`",
        ),
        (
            lambda f: f(online.RTRL(), CELL, PARAMS, XS, scalar, jnp.ones((2, 5))),
            "leaves of shape (T, ...) with T = 5, got (2, 5).",
        ),
        (
            lambda f: f(online.RTRL(), CELL, PARAMS, XS, scalar, lengths=jnp.ones(5, int)),
            "seqjax.online.online_gradients: `lengths` must have shape (*B,) = (2,), got (5,).",
        ),
        (lambda f: f(online.RTRL(), CELL, PARAMS, XS[0, 0], scalar), "`xs` must have shape (T, *B"),
    ],
    "RTRL": [
        (lambda f: f().init(CELL, OTHERS, XS[0]), "seqjax.online.RTRL.init: the parameter `inp"),
        (lambda f: f().init(CELL, PARAMS, TOKENS), "`x` must be floating and of shape (*B, D)"),
        (lambda f: f().update(CELL, PARAMS, XS[0], None), "`state` must be what RTRL.init returns"),
        (
            lambda f: f().update(CELL, PARAMS, XS[0], f().init(CELL, PARAMS, XS[0, :1])),
            "`state` must be that of lstm(4) for inputs of shape (2, 3), with leaves ((2, 4), (2,",
        ),
        (
            lambda f: f().update(
                CELL, PARAMS, XS[0], f().init(CELL, PARAMS, XS[0]), valid=jnp.ones(3, bool)
            ),
            "`valid` must have shape (*B,) = (2,), got (3,).",
        ),
    ],
    "SnAp1": [
        (
            lambda f: f().init(LAYER_NORM, LAYER_NORM.init(KEY, 3), XS[0]),
            "it needs a gated cell with a pointwise `update`, or a linear cell; use RTRL or UORO",
        ),
    ],
    "EProp": [
        (
            lambda f: f().init(seqjax.mgu(4), None, XS[0]),
            "an inner gate's product passes a parameter's influence on to all units",
        ),
    ],
    "RFLO": [(lambda f: f().init(CELL, PARAMS, XS[0]), "it is for networks without gates")],
    "UORO": [
        (
            lambda f: jax.grad(lambda p: seqjax.unroll(CELL, p, XS, executor=f())[0].sum())(PARAMS),
            "seqjax.online.UORO: its gradient needs a random key. Pass `key` to seqjax.unroll",
        ),
    ],
    "feedback_alignment": [
        (
            lambda f: f(XS, jnp.ones((3, 2)), jnp.ones((2, 3))),
            "`feedback` must have shape (N, M) = (3, 2), got (2, 3).",
        ),
    ],
    "make_probe": [
        (lambda f: f(3, XS), NO_CELL),
        (lambda f: f(CELL, XS, functions={"x": None}), "one of input, forget, candidate, output"),
        (lambda f: f(CELL, XS, depth=-1), at_least("depth", -1, 0)),
        (lambda f: f(CELL, XS, loss=3), "can be called as loss(params, batch), got 3"),
    ],
    "plot_gradient_norms": [(lambda f: f({}), "at least one labelled entry is required, got none")],
    "plot_lyapunov": [(lambda f: f({}), "at least one labelled entry is required, got none")],
    "plot_singular_values": [
        (lambda f: f(jnp.ones((3, 2)), lags=[1]), "`lags` must have shape (K,) = (3,), got (1,)."),
    ],
    "plot_saturation": [
        (lambda f: f(HALVES, bins=0), at_least("bins")),
        (lambda f: f(HALVES, low=1, high=0), "two numbers in rising order, got 1 and 0."),
        (lambda f: f(HALVES, range=(1, 0)), "`range` must be two numbers in rising order"),
    ],
    "load": [(lambda f: f(3, {}, "torch"), "`module` must be a flax.nnx.Module, got 3.")],
    "dump": [
        (lambda f: f(3, "seqjax"), "`module` must be a flax.nnx.Module, got 3."),
        (lambda f: f(LAYER, "tf"), "must be one of torch, keras, linen, nnx, seqjax, got 'tf'."),
    ],
    "load_params": [(lambda f: f(3, {}, "torch"), NO_CELL)],
    "dump_params": [(lambda f: f(CELL, OTHERS, "torch"), "must have shape (3, 16), got (3, 24).")],
    "export": [
        (lambda f: f(3, "x", ("3", "float32")), "can be called as model(input_0), got 3"),
        (lambda f: f(LAYER, "x", (3, 4)), "must be pairs of a shape such as"),
        (
            lambda f: f(LAYER, "x", ("b, t, 3", "float32"), platforms=("gpu",)),
            "`platforms` must be one of cpu, cuda, tpu, rocm, got 'gpu'.",
        ),
    ],
    "zoneout": [
        (lambda f: f(3, 0.1), NO_CELL),
        (lambda f: f(CELL, 1.2), "`rate` " + RATE + "1.2"),
        (lambda f: f(CELL, {"hidden": -1}), "`rate['hidden']` " + RATE + "-1"),
    ],
    "recurrent_dropout": [
        (lambda f: f(CELL, 1.0), "`rate` " + RATE + "1.0"),
        (lambda f: f(CELL, 0.1, per="batch"), "`per` must be one of step, sequence, got 'batch'"),
    ],
    "variational_dropout": [
        (lambda f: f(seqjax.lru(4), 0.1), "`cell` must be a GatedCell, such as seqjax.lstm(64)"),
        (lambda f: f(CELL, 0.1, input_rate=2), "`input_rate` " + RATE + "2"),
    ],
    "weight_drop": [(lambda f: f(CELL, -0.5), "`rate` " + RATE + "-0.5")],
    "weight_norm": [(lambda f: f(seqjax.ind_rnn(4)), "must have a recurrent product")],
    "spectral_bound": [(lambda f: f(CELL, -1.0), "`bound` must be above 0")],
    "orthogonal": [(lambda f: f(CELL, "qr"), "`method` must be one of cayley, exponential")],
    "layer_norm": [(lambda f: f(CELL, epsilon=0.0), "`epsilon` must be above 0, got 0.0")],
    "residual": [(lambda f: f(3), NO_CELL)],
    "LSTM": [
        (lambda f: f(0, 4, rngs=RNGS), at_least("in_features")),
        (lambda f: f(3, 4, 0, rngs=RNGS), at_least("num_layers")),
        (lambda f: f(3, 4, rngs=0), NO_RNGS),
        (lambda f: f(3, 4, 2, dropout=1.0, rngs=RNGS), "`dropout` " + RATE + "1.0"),
    ],
    "GRU": [(lambda f: f(3, 0, rngs=RNGS), at_least("hidden_size"))],
    "Elman": [
        (
            lambda f: f(3, 4, dropout=0.5, rngs=RNGS),
            "`num_layers` must be at least 2, got 1. Drop the outputs with nnx.Dropout(0.5)",
        )
    ],
    "flax.RNN": [
        (
            lambda f: f(nnx.GRUCell(3, 4, rngs=RNGS))(jnp.ones((2, 5, 2))),
            "`inputs` must have in_features = 3 on the last axis, got shape (2, 5, 2)",
        )
    ],
    "from_step": [
        (lambda f: f(3, same, (), 3), "`call` must be a function that can be called as call("),
        (lambda f: f(same, 3, (), 3), "`carry` must be a function that can be called as carry("),
        (lambda f: f(same, same, (), 0), at_least("in_size")),
    ],
    "from_nnx": [
        (lambda f: f(3), "`module` must be a cell such as nnx.LSTMCell(...), got 3."),
        (lambda f: f(nnx.RNN(nnx.GRUCell(3, 4, rngs=RNGS))), "Of an nnx.RNN, pass its `cell`."),
    ],
    "from_linen": [(lambda f: f(3, 3), "`module` must be a cell such as linen.LSTMCell(64)")],
    "to_nnx": [
        (lambda f: f(3, 3, rngs=RNGS), NO_CELL.partition(",")[0]),
        (lambda f: f(CELL, 0, rngs=RNGS), at_least("in_size")),
        (lambda f: f(CELL, 3, rngs=0), NO_RNGS),
    ],
    "to_linen": [(lambda f: f(3, 3), NO_CELL), (lambda f: f(CELL, 0), at_least("in_size"))],
    "save_pretrained": [
        (lambda f: f(3, "x", {}), "`module` must be a flax.nnx.Module, got 3"),
        (lambda f: f(LAYER, "x", [3]), "`config` must be a dictionary of names to plain JSON"),
    ],
    "load_pretrained": [(lambda f: f("nowhere"), "must be a file that can be read, got No such")],
    "read_safetensors": [(lambda f: f(__file__), "must be a whole safetensors file")],
    "write_safetensors": [
        (lambda f: f("x", [1]), "must be given a flat mapping of names to arrays")
    ],
}
# Every cell checks its size, a new one too.
for make in cells.CELLS.values():
    ROWS[make.__name__] = [
        *ROWS.get(make.__name__, []),
        (lambda f: f(0), at_least("hidden_size")),
        (lambda f: f(4.5), at_least("hidden_size", 4.5)),
    ]

PUBLIC = {
    f"flax.{name}" if package == "seqjax.flax" and hasattr(nn, name) else name: getattr(
        importlib.import_module(package), name
    )
    for package in PACKAGES
    for name in dir(importlib.import_module(package))
    if not name.startswith("_")
}
PUBLIC = {
    name: value
    for name, value in PUBLIC.items()
    if callable(value)
    and getattr(value, "__module__", "").startswith("seqjax")
    and not hasattr(value, "_fields")
}


def test_every_public_callable_has_a_row():
    exempt = {name for names in EXEMPT.values() for name in names.split()}
    assert {*PUBLIC} - {*ROWS} - exempt == set(), "write a row of ROWS, or a reason in EXEMPT"
    assert {*ROWS} & exempt == set()
    assert ({*ROWS} | exempt) - {*PUBLIC} == set(), "a row or an exemption of no public callable"


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [(name, call, message) for name, rows in ROWS.items() for call, message in rows],
    ids=[f"{name}-{number}" for name, rows in ROWS.items() for number in range(len(rows))],
)
def test_a_wrong_argument_is_refused(name, call, message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as refused:
        call(PUBLIC[name])
    assert "\n" not in str(refused.value)
    assert re.match(r"seqjax[. ]", str(refused.value)), "say where"
