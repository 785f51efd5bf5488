"""Training: pytrees and pure functions in, a run folder out; knows no cell and no data set."""

from seqjax.train._callbacks import Callback as Callback
from seqjax.train._cores import use_all_cores as use_all_cores
from seqjax.train._errors import DivergedError as DivergedError
from seqjax.train._errors import RunError as RunError
from seqjax.train._errors import StoppedError as StoppedError
from seqjax.train._figures import plot_training as plot_training
from seqjax.train._loop import FitResult as FitResult
from seqjax.train._loop import Member as Member
from seqjax.train._mesh import data_mesh as data_mesh
from seqjax.train._mesh import replicate as replicate
from seqjax.train._mesh import shard as shard
from seqjax.train._mesh import split_batch as split_batch
from seqjax.train._module import fit_module as fit_module
from seqjax.train._population import fit_together as fit_together
from seqjax.train._processes import fetch as fetch
from seqjax.train._processes import fetch_each as fetch_each
from seqjax.train._processes import join_processes as join_processes
from seqjax.train._run_folder import RunFolder as RunFolder
from seqjax.train._run_folder import open_run as open_run
from seqjax.train._single import best_params as best_params
from seqjax.train._single import fit as fit
from seqjax.train._state import TrainState as TrainState
from seqjax.train._step import TrainStep as TrainStep
from seqjax.train._step import make_train_step as make_train_step
