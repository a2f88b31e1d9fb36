"""Recurrences h_t = f(h_{t-1}, x_t) solved in parallel over time: cells, solvers, affine scans, one driver `solve`."""

from workbench.rnn._cell import AbstractCell as AbstractCell
from workbench.rnn._cells import GatedCell as GatedCell
from workbench.rnn._cells import LinearGRU as LinearGRU
from workbench.rnn._cells import ParaGRU as ParaGRU
from workbench.rnn._cells import ParaLSTM as ParaLSTM
from workbench.rnn._function import Function as Function
from workbench.rnn._jacobian import AbstractJacobian as AbstractJacobian
from workbench.rnn._jacobian import Block as Block
from workbench.rnn._jacobian import Diagonal as Diagonal
from workbench.rnn._result import Code as Code
from workbench.rnn._result import Stats as Stats
from workbench.rnn._result import Status as Status
from workbench.rnn._result import Trajectory as Trajectory
from workbench.rnn._scan import AbstractScan as AbstractScan
from workbench.rnn._scan import Associative as Associative
from workbench.rnn._scan import Serial as Serial
from workbench.rnn._scan import TwoLevel as TwoLevel
from workbench.rnn._scan import affine_scan as affine_scan
from workbench.rnn._solve import solve as solve
from workbench.rnn._solver import AbstractSolver as AbstractSolver
from workbench.rnn._solver import Iterate as Iterate
from workbench.rnn._solver import Newton as Newton
from workbench.rnn._solver import Sequential as Sequential
from workbench.rnn._system import System as System
