"""Executors run a cell in time. All executors give the same results, up to rounding."""

from seqjax.executors._advice import advise as advise
from seqjax.executors._advice import newton_report as newton_report
from seqjax.executors._associative import Associative as Associative
from seqjax.executors._choice import EXECUTORS as EXECUTORS
from seqjax.executors._choice import choose as choose
from seqjax.executors._chunked import Chunked as Chunked
from seqjax.executors._executor import Executor as Executor
from seqjax.executors._executor import Inputs as Inputs
from seqjax.executors._executor import Run as Run
from seqjax.executors._newton import Newton as Newton
from seqjax.executors._newton_solve import NewtonReport as NewtonReport
from seqjax.executors._scan import Scan as Scan
from seqjax.executors._sequential import Sequential as Sequential
