"""Gradients without back-propagation through time: they are carried forwards, step by step.

A method runs a stream with `init` and `update`, in memory that does not depend on the number of
steps. `online_gradients` does so for whole sequences. A method is also an executor, for
`seqjax.unroll` and layers.
"""

from seqjax.online._eprop import EProp as EProp
from seqjax.online._feedback import feedback_alignment as feedback_alignment
from seqjax.online._gradients import online_gradients as online_gradients
from seqjax.online._method import Method as Method
from seqjax.online._method import OnlineState as OnlineState
from seqjax.online._methods import METHODS as METHODS
from seqjax.online._rflo import RFLO as RFLO
from seqjax.online._rtrl import RTRL as RTRL
from seqjax.online._snap import SnAp1 as SnAp1
from seqjax.online._uoro import UORO as UORO
