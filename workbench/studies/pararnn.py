"""ParaRNN (arXiv 2510.21450) on a CPU: how fast Newton converges, what it is worth, what the cells can learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from workbench import data, rnn
from workbench.studies import _pararnn_newton as newton
from workbench.studies import _pararnn_parity as parity
from workbench.studies import _pararnn_speed as speed
from workbench.study import Outcome

CELLS = ("ParaGRU", "ParaLSTM")
FLOOR = {"float32": 1e-5, "float64": 1e-10}  # residuals that count as machine precision
BFLOAT16_UNIT = 2.0**-8  # gradients that differ by less are the same for training


@dataclass(frozen=True)
class Config:
    """Sizes of the experiments; `seeds` are those of parity, the first one draws the recurrences."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    hidden_dim: int = 64
    batch: int = 8
    lengths: tuple[int, ...] = (256, 512, 1024, 2048)
    newton_steps: int = 6
    jacobi_steps: int = 80
    gradient_length: int = 256
    speed_length: int = 512
    speed_dim: int = 16
    speed_repeats: int = 5
    parity_length: int = 32
    parity_batch: int = 16
    parity_steps: int = 700


PRESETS = {
    "quick": Config(),
    "full": Config(hidden_dim=256, jacobi_steps=120, speed_repeats=30, parity_length=100, parity_steps=2000),
}


def run(config: Config, log: Any) -> dict[str, Outcome]:
    """All outcomes of the study, by claim."""
    outcomes = {**tokens(), **structure(config)}
    x = newton.inputs(config.batch, max(config.lengths), config.hidden_dim, config.seeds[0])
    needed = {}
    for done, name in enumerate(CELLS):
        log.progress(done, 6, f"Newton's iterations, {name}")
        needed[name] = iterations(config, log, name, x)
        outcomes |= length_claims(config, name, needed[name])
        outcomes |= exactness(config, log, name, x)
    outcomes["iterations.worst"] = worst(needed)
    for done, name in enumerate(CELLS):
        log.progress(2 + done, 6, f"seconds, {name}")
        outcomes |= speed_up(config, log, name)
    learned = {}
    for done, name in enumerate(CELLS):
        log.progress(4 + done, 6, f"parity, {name}")
        learned[name] = learn_parity(config, log, name)
    outcomes |= parity_claims(config, learned)
    log.progress(6, 6, "done")
    return outcomes


def tokens() -> dict[str, Outcome]:
    """Iterations x sequences x 2048 tokens of each training recipe, in billions; the control halves the sequences."""
    outcomes = {}
    for row in data.published("pararnn-training").iter_rows(named=True):
        billions = row["iterations"] * row["sequences"] * 2048 / 1e9
        outcomes[f"lm.{row['size'].lower()}.tokens"] = Outcome(modelled=billions, control=billions / 2)
    return outcomes


def structure(config: Config) -> dict[str, Outcome]:
    """What the Jacobian of a step holds outside of its declared structure; the control mixes channels."""
    outcomes = {}
    for name in CELLS:
        cell = newton.cell_named(name, 8)
        outside, mixed = (newton.outside_structure(cell, mix, config.seeds[0]) for mix in (0, 1))
        outcomes[f"structure.{name.lower()}"] = Outcome(outside, control=mixed)
    return outcomes


def iterations(config: Config, log: Any, name: str, x: np.ndarray) -> dict[str, dict[int, np.ndarray]]:
    """Residuals of a fresh cell in float32, by solver, length and iteration; the control has lost its Jacobian."""
    cell = newton.cell_named(name, config.hidden_dim)
    problem = newton.problem(cell, x, jnp.float32, config.seeds[0], h0_scale=0.0)
    histories = {}
    for title, solver, steps in (
        ("residual", rnn.Newton(), config.newton_steps),
        ("residual-jacobi", newton.Jacobi(), config.jacobi_steps),
    ):
        residual, _ = newton.trace(cell, solver, steps, 0, *problem)
        histories[title] = newton.by_length(residual, config.lengths)
        log_histories(log, f"{title}/{name.lower()}", histories[title])
    return histories


def log_histories(log: Any, title: str, histories: Mapping[int, np.ndarray]) -> None:
    for step in range(len(next(iter(histories.values())))):
        log.log(step=step, **{f"{title}/{length}": float(history[step]) for length, history in histories.items()})


def length_claims(config: Config, name: str, histories: Mapping[str, Mapping[int, np.ndarray]]) -> dict[str, Outcome]:
    """How many iterations, how far they depend on the length, and whether the first one makes it worse."""
    ours, jacobi = (needed(histories[title]) for title in ("residual", "residual-jacobi"))
    conditions = {"hidden_dim": config.hidden_dim, "batch": config.batch, "lengths": list(config.lengths)}
    note = "iterations at " + ", ".join(f"{length} steps: {count:g}" for length, count in ours.items())
    cell, longest = name.lower(), max(ours)
    outcomes = {
        f"iterations.init.{cell}": Outcome(ours[longest], None, jacobi[longest], conditions, note),
        f"iterations.spread.{cell}": Outcome(spread(ours), None, spread(jacobi), conditions, note),
    }
    if name == "ParaLSTM":
        rise, jacobi_rise = (h[longest][1] / h[longest][0] for h in histories.values())
        outcomes[f"residual.first-iteration.{cell}"] = Outcome(float(rise), None, float(jacobi_rise), conditions)
    return outcomes


def needed(histories: Mapping[int, np.ndarray]) -> dict[int, float]:
    return {length: newton.iterations_to(history, FLOOR["float32"]) for length, history in histories.items()}


def spread(counts: Mapping[int, float]) -> float:
    return max(counts.values()) - min(counts.values())


def worst(histories: Mapping[str, Mapping[str, Mapping[int, np.ndarray]]]) -> Outcome:
    """The largest number of iterations over cells and lengths."""
    ours, jacobi = (
        max(count for by_solver in histories.values() for count in needed(by_solver[title]).values())
        for title in ("residual", "residual-jacobi")
    )
    return Outcome(ours, control=jacobi)


def exactness(config: Config, log: Any, name: str, x: np.ndarray) -> dict[str, Outcome]:
    """In float64, from a random state: iterations, and states and gradients against backpropagation through time.

    The controls are Newton stopped after one iteration (states, gradients) and without its Jacobian (iterations).
    """
    cell, length, key = newton.cell_named(name, config.hidden_dim), config.gradient_length, name.lower()
    params, x, h0 = newton.problem(cell, x, jnp.float64, config.seeds[0], h0_scale=0.5)
    short = (params, x[:, :length], h0)
    residual, iterates = newton.trace(cell, rnn.Newton(), config.newton_steps, length, params, x, h0)
    jacobi_residual, jacobi_iterates = newton.trace(cell, newton.Jacobi(), config.jacobi_steps, length, *short)
    histories = newton.by_length(residual, config.lengths)
    log_histories(log, f"residual-float64/{key}", histories)
    log_histories(log, f"residual-float64-jacobi/{key}", newton.by_length(jacobi_residual, (length,)))

    states, gradient_errors = compare(cell, short, iterates, config.seeds[0])
    _, jacobi_errors = compare(cell, short, jacobi_iterates[: 8 * config.newton_steps], config.seeds[0])
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


def speed_up(config: Config, log: Any, name: str) -> dict[str, Outcome]:
    """Three Newton iterations against the loop in Python and against lax.scan; the control puts the loop in its place."""
    cell, key = newton.cell_named(name, config.speed_dim), name.lower()
    taken, first = speed.seconds(cell, config.speed_length, config.speed_repeats, 3, config.seeds[0])
    log.log(step=0, **{f"first-call-s/{way}/{key}": value for way, value in first.items()})
    for step in range(config.speed_repeats):
        log.log(step=step, **{f"seconds/{way}/{key}": times[step] for way, times in taken.items()})
    loop, sliced, scan, parallel = (np.asarray(taken[way]) for way in ("loop", "sliced-loop", "scan", "newton"))
    medians = {way: f"{np.median(times) * 1e3:.3g} ms" for way, times in taken.items()}
    conditions = {"length": config.speed_length, "hidden_dim": config.speed_dim, "batch": 1, **medians}
    ratios = (
        f"against a loop over inputs sliced beforehand {np.median(sliced / parallel):.3g}x, "
        f"against lax.scan {np.median(scan / parallel):.3g}x"
    )
    return {
        f"speedup.loop.{key}": Outcome(loop / parallel, None, loop / np.roll(loop, 1), conditions, ratios),
        f"speedup.scan.{key}": Outcome(scan / parallel, None, scan / loop, conditions),
    }


def learn_parity(config: Config, log: Any, name: str) -> parity.Learned:
    """Five seeds of the cell and of its linear twin, each on its own strings."""
    cell, key = getattr(rnn, name)(config.hidden_dim, config.hidden_dim), name.lower()

    def report(step: int, accuracy: np.ndarray) -> None:
        twins = dict(zip(("accuracy", "accuracy-linear"), accuracy, strict=True))
        log.log(
            step=step,
            **{
                f"{t}/{key}/seed{s}": float(a)
                for t, row in twins.items()
                for s, a in zip(config.seeds, row, strict=True)
            },
        )

    return parity.learn(cell, config.seeds, config.parity_length, config.parity_batch, config.parity_steps, report)


def parity_claims(config: Config, learned: Mapping[str, parity.Learned]) -> dict[str, Outcome]:
    """Accuracy of the cells, with the linear twin as control; the order of both, with the twin against itself."""
    outcomes = {}
    for name, result in learned.items():
        conditions = {"length": config.parity_length, "batch": config.parity_batch, "steps": result.steps}
        outcomes[f"synthetic.parity.{name.lower()}"] = Outcome(result.nonlinear, None, result.linear, conditions)
    gru = learned["ParaGRU"]
    pair = {"ParaGRU": gru.nonlinear, "linear twin": gru.linear}
    same = {"ParaGRU": gru.linear, "linear twin": gru.linear}
    outcomes["synthetic.parity.order"] = Outcome(pair, control=same)
    return outcomes
