"""Training: pytrees and pure functions in, a run folder out; knows no cell and no data set."""

from seqjax.train.errors import DivergedError as DivergedError
from seqjax.train.errors import RunError as RunError
from seqjax.train.figures import plot_training as plot_training
from seqjax.train.files import replace_file as replace_file
from seqjax.train.loop import FitResult as FitResult
from seqjax.train.loop import best_params as best_params
from seqjax.train.loop import fit as fit
from seqjax.train.mesh import data_mesh as data_mesh
from seqjax.train.mesh import replicate as replicate
from seqjax.train.mesh import shard as shard
from seqjax.train.mesh import split_batch as split_batch
from seqjax.train.mesh import use_all_cores as use_all_cores
from seqjax.train.record import devices as devices
from seqjax.train.record import interval as interval
from seqjax.train.record import params_sha256 as params_sha256
from seqjax.train.record import summarise as summarise
from seqjax.train.record import versions as versions
from seqjax.train.run_folder import RunFolder as RunFolder
from seqjax.train.run_folder import config_hash as config_hash
from seqjax.train.run_folder import default_workdir as default_workdir
from seqjax.train.run_folder import open_run as open_run
from seqjax.train.state import TrainState as TrainState
from seqjax.train.step import TrainStep as TrainStep
from seqjax.train.step import make_train_step as make_train_step
from seqjax.train.summary import write_summary as write_summary
