"""Synthetic tasks with exact answers: what a sequence model can keep track of, and what it can look up."""

from workbench.lm.tasks._hidden_markov import HiddenMarkov as HiddenMarkov
from workbench.lm.tasks._recall import MQAR as MQAR
from workbench.lm.tasks._recall import KHop as KHop
from workbench.lm.tasks._state_tracking import A5 as A5
from workbench.lm.tasks._state_tracking import CycleNavigation as CycleNavigation
from workbench.lm.tasks._state_tracking import ModularArithmetic as ModularArithmetic
from workbench.lm.tasks._state_tracking import Parity as Parity
from workbench.lm.tasks._task import AbstractTask as AbstractTask
from workbench.lm.tasks._task import Samples as Samples
