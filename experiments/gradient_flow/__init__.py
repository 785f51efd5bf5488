"""Gradient flow: a grid of cells, initialisations and lengths, measured and then trained.

    python -m experiments.gradient_flow

Papers: Bengio, Simard and Frasconi (1994), Learning long-term dependencies with gradient descent is
difficult; Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural
networks (clipping); Le, Jaitly and Hinton (2015), A simple way to initialize recurrent networks of
rectified linear units (identity); Tallec and Ollivier (2018), Can recurrent neural networks warp
time? (chrono).

Measured at initialisation: what becomes of a gradient on its way back. Trained: the adding and the
copying problem, beside a feed-forward network that sees a window, and a network whose gradients
explode, with clipping and without. `summary.md` says what was found, in numbers of that run.
Notebooks and tests call `run(Config(...))`.
"""

from experiments.gradient_flow.config import Config as Config
from experiments.gradient_flow.run import Result as Result
from experiments.gradient_flow.run import run as run
