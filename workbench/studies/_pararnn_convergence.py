"""How fast Newton converges on a fresh cell, and that it converges to the same thing: the claims about figure 4.

Every experiment has its broken twin: Newton without its Jacobian, which is Jacobi's method, or stopped too early.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from workbench import rnn
from workbench.studies import _pararnn_newton as newton
from workbench.study import Outcome

FLOOR = {"float32": 1e-5, "float64": 1e-10}  # residuals that count as machine precision
BFLOAT16_UNIT = 2.0**-8  # gradients that differ by less are the same for training


def structure(config: Any) -> dict[str, Outcome]:
    """What the Jacobian of a step holds outside of its declared structure; the control mixes channels."""
    outcomes = {}
    for name in newton.CELLS:
        cell = newton.cell_named(name, config.hidden_dim)
        outside, mixed = (newton.outside_structure(cell, mix, config.seeds[0]) for mix in (0, 1))
        outcomes[f"structure.{name.lower()}"] = Outcome(outside, control=mixed)
    return outcomes


def iterations(config: Any, log: Any, name: str, x: np.ndarray) -> dict[str, dict[int, np.ndarray]]:
    """Residuals of a fresh cell in float32, by solver, length and iteration; the control has lost its Jacobian."""
    cell = newton.cell_named(name, config.hidden_dim)
    problem = newton.problem(cell, x, jnp.float32, config.seeds[0], h0_scale=0.0)
    histories = {}
    for title, solver, steps in (
        ("residual", rnn.Newton(), config.newton_steps),
        ("residual-jacobi", rnn.Jacobi(), config.jacobi_steps),
    ):
        residual, _ = newton.trace(cell, solver, steps, 0, *problem)
        histories[title] = newton.by_length(residual, config.lengths)
        log_histories(log, f"{title}/{name.lower()}", histories[title])
    return histories


def log_histories(log: Any, title: str, histories: Mapping[int, np.ndarray]) -> None:
    for step in range(len(next(iter(histories.values())))):
        log.log(step=step, **{f"{title}/{length}": float(history[step]) for length, history in histories.items()})


def iteration_claims(
    config: Any, histories: Mapping[str, Mapping[str, Mapping[int, np.ndarray]]]
) -> dict[str, Outcome]:
    """How many iterations, how far they depend on the length, and whether the first one makes it worse."""
    conditions = {"hidden_dim": config.hidden_dim, "batch": config.batch, "lengths": list(config.lengths)}
    longest, outcomes, most = max(config.lengths), {}, []
    for name, by_solver in histories.items():
        ours, jacobi = (needed(by_solver[title]) for title in ("residual", "residual-jacobi"))
        note = "iterations at " + ", ".join(f"{length} steps: {count:g}" for length, count in ours.items())
        outcomes |= {
            f"iterations.init.{name.lower()}": Outcome(ours[longest], None, jacobi[longest], conditions, note),
            f"iterations.spread.{name.lower()}": Outcome(spread(ours), None, spread(jacobi), conditions, note),
        }
        most.append((max(ours.values()), max(jacobi.values())))
    ours, jacobi = np.max(most, axis=0).tolist()
    outcomes["iterations.worst"] = Outcome(ours, None, jacobi, conditions)
    rise, jacobi = (float(history[longest][1] / history[longest][0]) for history in histories["ParaLSTM"].values())
    outcomes["residual.first-iteration.paralstm"] = Outcome(rise, None, jacobi, conditions)
    return outcomes


def needed(histories: Mapping[int, np.ndarray]) -> dict[int, float]:
    return {length: newton.iterations_to(history, FLOOR["float32"]) for length, history in histories.items()}


def spread(counts: Mapping[int, float]) -> float:
    return max(counts.values()) - min(counts.values())


def exactness(config: Any, log: Any, name: str, x: np.ndarray) -> dict[str, Outcome]:
    """In float64, from a random state: iterations, and states and gradients against backpropagation through time.

    The controls are Newton stopped after one iteration (states, gradients) and without its Jacobian (iterations).
    """
    cell, length, key = newton.cell_named(name, config.hidden_dim), config.gradient_length, name.lower()
    problem = newton.problem(cell, x, jnp.float64, config.seeds[0], h0_scale=0.5)
    short = (problem[0], problem[1][:, :length], problem[2])
    residual, iterates = newton.trace(cell, rnn.Newton(), config.newton_steps, length, *problem)
    jacobi_residual, jacobi_iterates = newton.trace(cell, rnn.Jacobi(), config.jacobi_steps, length, *short)
    histories = newton.by_length(residual, config.lengths)
    log_histories(log, f"residual-float64/{key}", histories)
    log_histories(log, f"residual-float64-jacobi/{key}", newton.by_length(jacobi_residual, (length,)))

    states, gradient_errors = compare(cell, short, iterates, config.seeds[0])
    _, jacobi_errors = compare(cell, short, jacobi_iterates[: 4 * config.newton_steps], config.seeds[0])
    for step, (difference, error) in enumerate(zip(states, gradient_errors, strict=True)):
        log.log(step=step, **{f"state-error/{key}": difference, f"gradient-error/{key}": error})
    counts = [newton.iterations_to(h, FLOOR["float64"]) for h in (histories[max(histories)], jacobi_residual.max(1))]
    enough = [newton.iterations_to(np.asarray(errors), BFLOAT16_UNIT) for errors in (gradient_errors, jacobi_errors)]
    conditions = {"hidden_dim": config.hidden_dim, "batch": config.batch, "newton_iterations": config.newton_steps}
    sizes = "error after 1, 2, 3, ... iterations: " + ", ".join(f"{error:.1e}" for error in gradient_errors[1:])
    return {
        f"states.{key}": Outcome(states[-1], None, states[1], conditions),
        f"gradients.{key}": Outcome(gradient_errors[-1], None, gradient_errors[1], conditions, sizes),
        f"iterations.float64.{key}": Outcome(counts[0], None, counts[1], conditions),
        f"iterations.sufficient.{key}": Outcome(enough[0], None, enough[1], conditions, sizes),
    }


def compare(cell: Any, problem: tuple, iterates: Any, seed: int) -> tuple[list[float], list[float]]:
    """For each iterate, how far its states, and the gradient taken at it, are from backpropagation through time."""
    paths = np.moveaxis(np.asarray(iterates), 1, 2)  # iteration, batch, time, state
    shape = (*problem[1].shape[:2], cell.hidden_dim)
    weights = jnp.asarray(np.random.default_rng(seed).standard_normal(shape))
    states, reference = newton.states_and_gradients(cell, rnn.Sequential("bptt"), problem, weights, paths[-1])
    differences, errors = [], []
    for path in paths:
        _, gradients = newton.states_and_gradients(cell, newton.Given(), problem, weights, path)
        differences.append(float(np.abs(path - np.asarray(states)).max()))
        errors.append(newton.relative_error(gradients, reference))
    return differences, errors
