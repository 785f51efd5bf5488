"""Cells against somebody else's code: values, final states, and every gradient in their layout.

`torchrecurrent` (extra `peers`) has most of the gated cells, PyTorch has the projected LSTM.
Where their code departs from the paper, the test says how, and changes our cell likewise.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import assert_trees_close

import seqjax
from seqjax.cells import GatedParams

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity with it")

pytestmark = pytest.mark.usefixtures("x64")

T, B, D, H = 6, 4, 3, 5
XS = np.random.default_rng(0).normal(size=(T, B, D))
WEIGHTS = np.random.default_rng(1).normal(size=(T, B, H))


def gated(w, *, recurrent=None, bias=None, **rest):
    """Our parameters: their kernels transposed, their two biases added."""
    kernel = w["weight_hh"].T if recurrent is None else recurrent
    bias = w["bias_ih"] + w["bias_hh"] if bias is None else bias
    return GatedParams(w["weight_ih"].T, kernel, bias, **rest)


def mgu(w):
    return gated(w)


def ind_rnn(w):
    return GatedParams(
        w["weight_ih"].T, None, w["bias_ih"] + w["bias_hh"], units={"recurrent": w["vector_u"]}
    )


def peephole_lstm(w):
    names = ("input_peephole", "forget_peephole", "output_peephole")
    return gated(w, units=dict(zip(names, jnp.split(w["weight_ph"], 3), strict=True)))


def antisymmetric_rnn(w):
    return gated(w)


def gated_antisymmetric_rnn(w):
    """Their recurrent bias enters the candidate alone; their page says both."""
    gate, candidate = jnp.split(w["bias_ih"], 2)
    return gated(w, bias=jnp.concatenate([gate, candidate + w["bias_hh"]]))


def fast_grnn(w):
    gate, candidate = jnp.split(w["bias_ih"] + w["bias_hh"], 2)
    units = {"gate_bias": gate, "candidate_bias": candidate, "zeta": w["zeta"], "nu": w["nu"]}
    return GatedParams(w["weight_ih"].T, w["weight_hh"].T, None, units=units)


def lem(w):
    recurrent = jnp.concatenate([w["weight_hh"], w["weight_ch"]]).T
    return gated(w, recurrent=recurrent, bias=w["bias_ih"] + jnp.append(w["bias_hh"], w["bias_ch"]))


def co_rnn(w):
    recurrent = jnp.concatenate([w["weight_hh"], w["weight_ch"]]).T
    return gated(w, recurrent=recurrent, bias=w["bias_ih"] + w["bias_hh"] + w["bias_ch"])


def unicornn(w):
    units = {"recurrent": w["weight_hh"], "control": w["weight_ch"]}
    return GatedParams(w["weight_ih"].T, None, w["bias_ih"], units=units)


def old_memory(state, **gates):
    return state.memory


# Their LEM multiplies the memory of the step before, `z_{t-1}`, into the output. The paper, its
# authors' code, and their own page say `z_t`.
LEM = dataclasses.replace(seqjax.lem(H, step_size=0.4), inner_state=old_memory)
PEERS = {
    "mgu": (seqjax.mgu(H), mgu, "MGUCell", {}),
    "ind_rnn": (seqjax.ind_rnn(H, activation="tanh"), ind_rnn, "IndRNNCell", {}),
    "peephole_lstm": (seqjax.peephole_lstm(H), peephole_lstm, "PeepholeLSTMCell", {}),
    "antisymmetric_rnn": (
        seqjax.antisymmetric_rnn(H, step_size=0.3, damping=0.2),
        antisymmetric_rnn,
        "AntisymmetricRNNCell",
        {"epsilon": 0.3, "gamma": 0.2},
    ),
    "antisymmetric_rnn_gated": (
        seqjax.antisymmetric_rnn(H, step_size=0.3, damping=0.2, gated=True),
        gated_antisymmetric_rnn,
        "GatedAntisymmetricRNNCell",
        {"epsilon": 0.3, "gamma": 0.2},
    ),
    # By default their gate is a tanh, where the paper has a sigmoid.
    "fast_grnn": (seqjax.fast_grnn(H), fast_grnn, "FastGRNNCell", {"nonlinearity": "sigmoid"}),
    "lem": (LEM, lem, "LEMCell", {"dt": 0.4}),
    "co_rnn": (
        seqjax.co_rnn(H, step_size=0.3, stiffness=1.5, damping=0.7),
        co_rnn,
        "coRNNCell",
        {"dt": 0.3, "gamma": 1.5, "epsilon": 0.7},
    ),
    "unicornn": (
        seqjax.unicornn(H, step_size=0.3, stiffness=2.0),
        unicornn,
        "UnICORNNCell",
        {"dt": 0.3, "alpha": 2.0},
    ),
}


def randomised(module):
    """The weights of a module, all random, in NumPy."""
    rng = np.random.default_rng(2)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.from_numpy(0.5 * rng.normal(size=weight.shape)))
    return {name: np.asarray(weight.detach()) for name, weight in module.named_parameters()}


def loss(ys, final):
    return (WEIGHTS[..., : ys.shape[-1]] * ys).sum() + sum(
        (WEIGHTS[0][..., : leaf.shape[-1]] * leaf).sum() for leaf in final
    )


def torch_loss(ys, final):
    weights = torch.from_numpy(WEIGHTS)
    return (weights[..., : ys.shape[-1]] * ys).sum() + sum(
        (weights[0, :, : leaf.shape[-1]] * leaf).sum() for leaf in final
    )


@pytest.mark.parametrize("name", PEERS)
def test_torchrecurrent(name):
    peers = pytest.importorskip(
        "torchrecurrent", reason="torchrecurrent is not installed: no parity with it"
    )
    cell, params_of, peer, options = PEERS[name]
    theirs = getattr(peers, peer)(D, H, **options).double()
    weights = randomised(theirs)
    fields = len(cell.state._fields)
    starts = 0.5 * np.random.default_rng(3).normal(size=(fields, B, H))

    xs = torch.from_numpy(XS).requires_grad_()
    before = [torch.from_numpy(start).requires_grad_() for start in starts]
    state, ys = tuple(before), []
    for x in xs:
        state = theirs(x, state if fields > 1 else state[0])
        state = state if fields > 1 else (state,)
        ys.append(state[0])
    ys = torch.stack(ys)
    torch_loss(ys, state).backward()

    def run(weights, xs, starts):
        got = seqjax.unroll(cell, params_of(weights), xs, initial_state=cell.state(*starts))
        return loss(*got), got

    (of_weights, of_xs, of_starts), (got_ys, final) = jax.grad(run, (0, 1, 2), has_aux=True)(
        weights, XS, list(starts)
    )
    assert_trees_close(got_ys, ys.detach())
    assert_trees_close(final, [leaf.detach() for leaf in state])
    assert_trees_close(of_xs, xs.grad)
    assert_trees_close(of_starts, [start.grad for start in before])
    gradients = {key: weight.grad for key, weight in theirs.named_parameters()}
    for key, gradient in of_weights.items():
        assert_trees_close(gradient, gradients[key])


def test_torchrecurrents_lem_is_not_the_papers():
    """When this fails they have corrected it: compare with `seqjax.lem` itself."""
    peers = pytest.importorskip(
        "torchrecurrent", reason="torchrecurrent is not installed: no parity with it"
    )
    theirs = peers.LEMCell(D, H, dt=0.4).double()
    cell, params = seqjax.lem(H, step_size=0.4), lem(randomised(theirs))
    starts = 0.5 * np.random.default_rng(3).normal(size=(2, B, H))
    ours = cell.step(params, cell.state(*starts), cell.project(params, XS[0]))
    hidden, memory = theirs(torch.from_numpy(XS[0]), tuple(torch.from_numpy(starts)))
    assert_trees_close(ours.memory, memory.detach())
    assert np.abs(ours.hidden - np.asarray(hidden.detach())).max() > 1e-3


def test_projection_of_torch():
    """`proj_size` of PyTorch's LSTM, whose states are the projected output and the memory."""
    theirs = torch.nn.LSTM(D, H, proj_size=2, dtype=torch.float64)
    weights = randomised(theirs)
    cell = seqjax.projected_lstm(2, memory_size=H)

    def params_of(w):
        return GatedParams(
            w["weight_ih_l0"].T,
            w["weight_hh_l0"].T,
            w["bias_ih_l0"] + w["bias_hh_l0"],
            extra={"projection": w["weight_hr_l0"].T},
        )

    def run(weights, xs):
        params = params_of(weights)
        ys, state = seqjax.unroll(cell, params, xs)
        projected = state.hidden @ params.extra["projection"]
        return loss(ys, (projected, state.cell)), (ys, projected, state.cell)

    (of_weights, of_xs), got = jax.grad(run, (0, 1), has_aux=True)(weights, jnp.asarray(XS))
    xs = torch.from_numpy(XS).requires_grad_()
    ys, (hidden, memory) = theirs(xs)
    torch_loss(ys, (hidden[0], memory[0])).backward()
    assert_trees_close(got, [ys.detach(), hidden[0].detach(), memory[0].detach()])
    assert_trees_close(of_xs, xs.grad)
    for key, weight in theirs.named_parameters():
        assert_trees_close(of_weights[key], weight.grad)
