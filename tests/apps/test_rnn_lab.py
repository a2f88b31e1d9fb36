"""The lab: a predictable recurrence is solved as lax.scan does it, a chaotic one is refused with λ > 0."""

import subprocess
import sys

import numpy as np
import pytest

from apps.rnn_lab import METHODS, SETTINGS, LabState
from workbench import rnn


@pytest.mark.parametrize("recurrence", SETTINGS)
def test_what_forgets_its_start_is_solved(recurrence):
    answer = LabState(recurrence=recurrence, setting=SETTINGS[recurrence][3], length=64).solve()
    assert answer.converged
    assert answer.status == "converged"
    assert answer.lyapunov < 0
    assert answer.error < 1e-4
    assert answer.history.size == answer.iterations + 1
    assert answer.history[-1] < 1e-5 < answer.history[0]
    assert answer.seconds > 0
    assert answer.scan_seconds > 0


@pytest.mark.parametrize("recurrence", SETTINGS)
def test_the_copied_python_solves_the_same(recurrence):
    answer = LabState(recurrence=recurrence, setting=SETTINGS[recurrence][3], length=64, method="Jacobi").solve()
    found = {}
    exec(answer.python.replace("print(", "told = ("), found)
    history = np.asarray(found["told"][1]).ravel()
    assert history[~np.isnan(history)].tolist() == answer.table()["residual"].to_list()


def test_chaos_is_refused():
    answer = LabState(setting=3.9, length=64).solve()
    assert not answer.converged
    assert answer.lyapunov > 0.3


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_solver_of_the_library(method):
    assert isinstance(METHODS[method](rnn), rnn.AbstractSolver)


def test_what_runs_away_ends_as_not_converged():
    answer = LabState(method="Picard", length=64).solve()
    assert not answer.converged
    assert np.isfinite(answer.history[0])


def test_a_setting_from_an_address_is_kept_within_its_bounds():
    assert LabState(setting=-7).bounded() == 1.0
    assert LabState(recurrence="tanh network", setting=99).bounded() == 3.0


def test_the_page_loads_jax_only_when_asked():
    code = "import sys, apps.rnn, apps.serve; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
