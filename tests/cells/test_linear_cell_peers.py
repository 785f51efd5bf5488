"""Linear, exponential and continuous-time cells against somebody else's code, where installed.

    pip install ncps mambapy mamba2-jax s5-pytorch minGRU-pytorch xlstm

Values, and the gradients of the inputs and of every parameter, in float64. Of a layer that has more
than a recurrence, theirs is the recurrence, behind our projections.

There is no peer for two cells: `sru` of PyPI (last release 2021) compiles C++ when it is imported,
and `qrnn` (2017) needs a GPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cell_table import assert_trees_close, random_params

import seqjax

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity with it")

pytestmark = pytest.mark.usefixtures("x64")

T, B, D, H = 6, 4, 3, 4
XS = np.random.default_rng(0).normal(size=(T, B, D))
WEIGHTS = np.random.default_rng(1).normal(size=(T, B, H))


def peer(name: str):
    return pytest.importorskip(name, reason=f"{name.partition('.')[0]} is not installed")


def check(cell, theirs):
    """Compares `theirs(params, xs)`, of tensors in our layout, with our cell."""
    params = random_params(cell)

    def loss(params, xs):
        ys, _ = seqjax.unroll(cell, params, xs)
        return (WEIGHTS * ys).sum(), ys

    gradients, ys = jax.grad(loss, (0, 1), has_aux=True)(params, jnp.asarray(XS))
    leaves, form = jax.tree.flatten(params)
    leaves = [torch.tensor(np.asarray(leaf), requires_grad=True) for leaf in leaves]
    xs = torch.tensor(XS, requires_grad=True)
    got = theirs(jax.tree.unflatten(form, leaves), xs)
    (torch.tensor(WEIGHTS) * got).sum().backward()
    assert_trees_close(ys, got.detach())
    assert_trees_close(gradients[1], xs.grad)
    assert_trees_close(jax.tree.leaves(gradients[0]), [leaf.grad for leaf in leaves])


def stepped(step, xs, state):
    """Stacks the states of `step(x, state)`."""
    states = []
    for x in xs:
        state = step(x, state)
        states.append(state)
    return torch.stack(states)


def test_cfc():
    module = peer("ncps.torch").CfCCell(D, H, backbone_units=5).double()

    def theirs(params, xs):
        seen = torch.cat([params["input_kernel"], params["recurrent_kernel"]]).T
        weights = {"backbone.0.weight": seen, "backbone.0.bias": params["bias"]}
        parts = zip(
            params["output_kernel"].split(H, 1), params["output_bias"].split(H), strict=True
        )
        for name, (kernel, bias) in zip(("ff1", "ff2", "time_a", "time_b"), parts, strict=True):
            weights |= {f"{name}.weight": kernel.T, f"{name}.bias": bias}

        def step(x, hidden):
            return torch.func.functional_call(module, weights, (x, hidden, 1.0))[0]

        return stepped(step, xs, torch.zeros(B, H, dtype=torch.float64))

    check(seqjax.cfc(H, backbone_size=5), theirs)


def test_ltc():
    """Their denominator has an epsilon, and their input and output an affine map: both off."""
    module = peer("ncps.torch.ltc_cell").LTCCell(
        peer("ncps.wirings").FullyConnected(H), D, input_mapping=None, output_mapping=None,
        epsilon=0.0, implicit_param_constraints=True,
    )  # fmt: skip
    names = {"weight": "w", "slope": "sigma", "centre": "mu", "reversal": "erev"}
    own = {"capacity": "cm", "leak": "gleak", "leak_potential": "vleak"}

    def theirs(params, xs):
        module._params = {name: params[ours] for ours, name in (own | names).items()}
        module._params |= {f"sensory_{name}": params[f"input_{o}"] for o, name in names.items()}
        module._params |= {"sparsity_mask": 1.0, "sensory_sparsity_mask": 1.0}
        return stepped(
            lambda x, hidden: module(x, hidden)[1], xs, torch.zeros(B, H, dtype=torch.float64)
        )

    check(seqjax.ltc(H), theirs)


def test_slstm():
    update = peer("xlstm.blocks.slstm.src.vanilla.slstm").slstm_forward_pointwise

    def theirs(params, xs):
        kernel = params.recurrent_kernel.reshape(H, 4 * H)

        def step(x, states):
            inputs = x @ params.input_kernel
            return update(inputs, states[0] @ kernel, params.bias[None], states, {})[0]

        return stepped(step, xs, torch.zeros(4, B, H, dtype=torch.float64))[:, 0]

    check(seqjax.slstm(H), theirs)


class positive_min_lstm(seqjax.min_lstm):
    """Their candidate is positive: `g(z) = z + 1/2` above 0, and `sigmoid(z)` below."""

    def coefficients(self, params, xs):
        keep, drive = super().coefficients(params, xs)
        candidate = drive / (1 - keep)
        candidate = jnp.where(candidate >= 0, candidate + 0.5, jax.nn.sigmoid(candidate))
        return keep, (1 - keep) * candidate


@pytest.mark.parametrize("steps", [1, T], ids=["step by step", "parallel"])
def test_min_lstm(steps):
    """Their map has no bias and as many inputs as units: it is replaced by one of our sizes."""
    module = peer("minGRU_pytorch.minLSTM").minLSTM(H)
    module.to_hidden_and_f_i_gate = torch.nn.Linear(D, 3 * H)

    def theirs(params, xs):
        forget, admit, candidate = params["input_kernel"].split(H, 1)
        bias = torch.cat([params["bias"][2 * H :], params["bias"][: 2 * H]])
        weights = {
            "to_hidden_and_f_i_gate.weight": torch.cat([candidate, forget, admit], 1).T,
            "to_hidden_and_f_i_gate.bias": bias,
        }
        hidden, found = None, []
        for x in xs.swapaxes(0, 1).split(steps, 1):
            given = (x, hidden, True)
            ys, hidden = torch.func.functional_call(module, weights, given)
            found.append(ys)
        return torch.cat(found, 1).swapaxes(0, 1)

    check(positive_min_lstm(H), theirs)


def test_s5():
    """They sum over all states where we keep one of each conjugate pair: their `C` is twice ours.

    Their zero-order hold and their scan over pairs of steps, a sequence at a time.
    """
    model = peer("s5.s5_model")

    def theirs(params, xs):
        rate = torch.complex(params["rate"], params["frequency"])
        real, imag = params["input_kernel"].chunk(2, 1)
        out_real, out_imag = params["output_kernel"].chunk(2, 0)
        held = model.discretize_zoh(rate, torch.complex(real, imag).T, params["log_step"].exp())
        read = 2 * torch.complex(out_real, out_imag).T
        mapped = xs @ params["map_kernel"]
        sequences = mapped.unbind(1)
        ys = [model.apply_ssm(*held, read, params["skip"], each)[0] for each in sequences]
        return torch.stack(ys, 1)

    check(seqjax.s5(H, state_size=6), theirs)


def test_s6():
    """Their scan over pairs of steps."""
    block = peer("mambapy.mamba").MambaBlock
    cell = seqjax.s6(H, state_size=2, rank=1)

    def theirs(params, xs):
        xs = (xs @ params["input_kernel"]).swapaxes(0, 1)
        low, drive = (xs @ params["select_kernel"]).split([1, 2], -1)
        step = torch.nn.functional.softplus(low @ params["step_kernel"] + params["step_bias"])
        rate, read = -params["decay_log"].exp(), xs @ params["read_kernel"]
        ys = block.selective_scan(None, xs, step, rate, drive, read, params["skip"])
        return ys.swapaxes(0, 1)

    check(cell, theirs)


@pytest.mark.parametrize("chunk", [2, T])
def test_mamba2(chunk):
    """Their form in chunks, in JAX."""
    ssd = peer("mamba2_jax.modeling").ssd_forward
    cell = seqjax.mamba2(H, state_size=3, heads=2)
    params = random_params(cell)

    def theirs(params, xs):
        xs = jnp.swapaxes(xs, 0, 1)
        value, drive, step = jnp.split(xs @ params["input_kernel"], [H, H + 3], axis=-1)
        drive, read = (
            jnp.broadcast_to(each[:, :, None], (B, T, 2, 3))
            for each in (drive, xs @ params["read_kernel"])
        )
        with jax.numpy_rank_promotion("allow"):
            ys, _ = ssd(
                value.reshape(B, T, 2, 2), step, -jnp.exp(params["decay_log"]), drive, read, chunk,
                params["skip"], params["step_bias"], 0.0, jnp.inf,
            )  # fmt: skip
        return jnp.swapaxes(ys.reshape(B, T, H), 0, 1)

    def ours(params, xs):
        return seqjax.unroll(cell, params, xs)[0]

    def loss(function):
        return lambda *given: (WEIGHTS * function(*given)).sum()

    given = params, jnp.asarray(XS)
    assert_trees_close(ours(*given), theirs(*given))
    with jax.numpy_rank_promotion("allow"):  # in the gradient of theirs
        expected = jax.grad(loss(theirs), (0, 1))(*given)
    assert_trees_close(jax.grad(loss(ours), (0, 1))(*given), expected)
