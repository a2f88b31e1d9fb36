"""ParaRNN (arXiv 2510.21450) on a CPU: how fast Newton converges, what it is worth, what the cells can learn."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
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
    parity_length: int = 16
    parity_batch: int = 16
    parity_steps: int = 700


PRESETS = {
    "quick": Config(),
    "full": Config(speed_repeats=30, parity_length=100, parity_steps=2000),
}


def run(config: Config, log: Any) -> dict[str, Outcome]:
    """All outcomes of the study, by claim."""
    x = newton.inputs(config.batch, max(config.lengths), config.hidden_dim, config.seeds[0])
    # Compiling takes most of the time, and does not hold Python's lock.
    with ThreadPoolExecutor(max_workers=len(CELLS)) as pool:
        convergence = [pool.submit(iterations, config, log, name, x) for name in CELLS]
        exact = [pool.submit(exactness, config, log, name, x) for name in CELLS]
        learned = [pool.submit(learn_parity, config, log, name) for name in CELLS]
        jacobians = pool.submit(structure, config)
        tasks = [*convergence, *exact, *learned, jacobians]
        for done, _ in enumerate(as_completed(tasks), start=1):
            log.progress(done, len(tasks) + len(CELLS), "iterations, exactness and parity of both cells")
    histories = dict(zip(CELLS, (task.result() for task in convergence), strict=True))
    outcomes = {**tokens(), **jacobians.result(), **iteration_claims(config, histories)}
    for task in exact:
        outcomes |= task.result()
    outcomes |= parity_claims(config, dict(zip(CELLS, (task.result() for task in learned), strict=True)))
    for done, name in enumerate(CELLS, start=len(tasks)):  # alone, for the clock's sake
        log.progress(done, len(tasks) + len(CELLS), f"seconds of {name}")
        outcomes |= speed_up(config, log, name)
    log.progress(1, 1, "done")
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
        cell = newton.cell_named(name, config.hidden_dim)
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


def iteration_claims(
    config: Config, histories: Mapping[str, Mapping[str, Mapping[int, np.ndarray]]]
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


def exactness(config: Config, log: Any, name: str, x: np.ndarray) -> dict[str, Outcome]:
    """In float64, from a random state: iterations, and states and gradients against backpropagation through time.

    The controls are Newton stopped after one iteration (states, gradients) and without its Jacobian (iterations).
    """
    cell, length, key = newton.cell_named(name, config.hidden_dim), config.gradient_length, name.lower()
    problem = newton.problem(cell, x, jnp.float64, config.seeds[0], h0_scale=0.5)
    short = (problem[0], problem[1][:, :length], problem[2])
    residual, iterates = newton.trace(cell, rnn.Newton(), config.newton_steps, length, *problem)
    jacobi_residual, jacobi_iterates = newton.trace(cell, newton.Jacobi(), config.jacobi_steps, length, *short)
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


def speed_up(config: Config, log: Any, name: str) -> dict[str, Outcome]:
    """Three Newton iterations against the loop and against lax.scan; the control puts the loop in their place."""
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
    """One layer a seed, on its own strings; ParaGRU also as its linear twin, on the same ones."""
    cell, key = getattr(rnn, name)(config.hidden_dim, config.hidden_dim), name.lower()
    titles = ("accuracy", "accuracy-linear") if name == "ParaGRU" else ("accuracy",)

    def report(step: int, accuracy: np.ndarray) -> None:
        for title, row in zip(titles, accuracy.tolist(), strict=True):
            log.log(step=step, **{f"{title}/{key}/{seed}": a for seed, a in zip(config.seeds, row, strict=True)})

    sizes = (config.parity_length, config.parity_batch, config.parity_steps)
    return parity.learn(cell, (1.0, 0.0)[: len(titles)], config.seeds, *sizes, report)


def parity_claims(config: Config, learned: Mapping[str, parity.Learned]) -> dict[str, Outcome]:
    """Accuracy of the cells, with ParaGRU's linear twin as control; the order of both, with the twin against itself."""
    gru, linear = learned["ParaGRU"].accuracy
    outcomes = {
        "synthetic.parity.order": Outcome(
            {"ParaGRU": gru, "linear twin": linear}, control={"ParaGRU": linear, "linear twin": linear}
        )
    }
    for name, result in learned.items():
        conditions = {"length": config.parity_length, "batch": config.parity_batch, "steps": result.steps}
        outcomes[f"synthetic.parity.{name.lower()}"] = Outcome(result.accuracy[0], None, linear, conditions)
    return outcomes
