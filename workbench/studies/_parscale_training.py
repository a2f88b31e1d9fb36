"""What P streams are worth to a small model of bytes: the two-stage recipe beside all else that its steps could buy.

Every arm starts from the same models (one a seed) after a first stage at a constant rate, sees the same windows of
Python's standard library in the same order while its rate falls to zero, and is judged on the same windows of files
that no arm has seen.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from workbench import data, lm, parscale
from workbench.studies._jobs import compute
from workbench.study import Outcome, mean_interval, slugify

FIRST = lm.AdamW(3e-3, warmup=0.05, decay="constant")  # how every model is trained before its arms part
EVERY = 50  # optimiser steps between two points that are logged


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to spend the second stage: `streams` of this model, or one without a prefix.

    `prefix` says what a stream's prefix is at the start: the keys and values of real bytes, or noise. `rate` is the
    best of 1.5e-3, 3e-3 and 6e-3 (frozen: of 3e-3, 1e-2 and 3e-2) for seed 0, which is not judged. `longer` multiplies
    the steps, `scale` is the standard deviation of noise.
    """

    streams: int = 1
    prefix: Literal["none", "bytes", "noise"] = "bytes"
    aggregation: Literal["dynamic", "mean"] = "dynamic"
    freeze: bool = False
    rate: float = 3e-3
    longer: int = 1
    scale: float = 0.02

    def begin(self, base: lm.Model, prompts: np.ndarray, key: Array) -> lm.Model:
        """The model as this arm changes it; `prompts` holds a row of tokens for each of many streams."""
        if self.prefix == "none":
            return base
        held: dict[str, Any] = {"prefix_tokens": prompts.shape[1], "key": key, "freeze": self.freeze}
        held |= {"prompts": prompts[: self.streams]} if self.prefix == "bytes" else {"scale": self.scale}
        if self.streams == 1:
            return parscale.prefixed(base, **held)
        return parscale.wrap(base, streams=self.streams, aggregation=self.aggregation, **held)


ARMS = {
    "P = 1": Arm(prefix="none", rate=1.5e-3),
    "P = 1, twice the steps": Arm(prefix="none", rate=1.5e-3, longer=2),
    "prefix": Arm(),
    "P = 2": Arm(2),
    "P = 4": Arm(4),
    "P = 2, mean": Arm(2, aggregation="mean"),
    "prefix, frozen": Arm(freeze=True, rate=3e-2),
    "P = 2, frozen": Arm(2, freeze=True, rate=3e-2),
}
PARTS = len(ARMS) + 5  # that tell when they are done: two first stages, the arms, a wider model, two ensembles


@dataclasses.dataclass(frozen=True)
class Budget:
    """What every arm gets. `wider` is the hidden dimension of a larger model with one stream, the other way to pay."""

    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    layers: int = 3
    hidden_dim: int = 64
    wider: int = 80
    heads: int = 4
    kv_heads: int = 2
    batch: int = 16
    length: int = 64
    first: int = 1200
    second: int = 350
    prefix_tokens: int = 14
    windows: int = 3200

    def config(self, hidden_dim: int) -> lm.Config:
        return lm.Config(256, self.layers, hidden_dim, lm.Attention(heads=self.heads, kv_heads=self.kv_heads))

    @property
    def stream(self) -> lm.Windows:
        return lm.Windows(data.stdlib_text(split="train"), self.batch, self.length)

    @property
    def held_out(self) -> list[lm.Batch]:
        return lm.held_out(data.stdlib_text(split="test"), length=self.length, windows=self.windows)

    def prompts(self, seed: int) -> np.ndarray:
        """Bytes for the prefixes of some streams; all rows differ, as indentation alone may not."""
        drawn = data.stdlib_text(split="train").windows(self.prefix_tokens, 64, seed=10_000 + seed)
        _, first = np.unique(drawn, axis=0, return_index=True)
        return drawn[np.sort(first)][:8]


@dataclasses.dataclass(frozen=True)
class Found:
    """Losses on held-out bytes in nats, one a seed, by arm; how far streams are apart; sizes without embeddings."""

    losses: dict[str, np.ndarray]
    apart: dict[str, list[parscale.Residuals]]
    sizes: dict[str, int]


def run(budget: Budget, log: Any, tell: Callable[[str], None]) -> Found:
    """Train and judge every arm; logs losses, and goes on from where it was interrupted."""
    held, widths = budget.held_out, (budget.hidden_dim, budget.wider)
    first = compute({f"{dim} channels": partial(first_stage, budget, dim, log) for dim in widths}, tell)
    base, wide = (first[f"{dim} channels"] for dim in widths)
    jobs = {name: partial(second_stage, budget, base, name, arm, held, log) for name, arm in ARMS.items()}
    jobs |= {"wider": partial(second_stage, budget, wide, "wider", ARMS["P = 1"], held, log)}
    ran = compute(jobs, tell)
    losses = {name: ran[name].losses for name in jobs}
    losses["before the second stage"] = judge(base, held, log, "before the second stage")
    apart = {name: ran[name].apart for name in jobs if ran[name].apart}
    apart |= ensembles([ran["P = 1"].run.model(seed) for seed in budget.seeds], held, tell)
    count = lambda name: lm.count_parameters(ran[name].run.model(budget.seeds[0]), embedding=False)
    return Found(losses, apart, {name: count(name) for name in ("P = 1", "wider")})


class Ran(NamedTuple):
    """One arm: its models, their losses, and how far the streams of each are apart."""

    run: lm.Training
    losses: np.ndarray
    apart: list[parscale.Residuals]


def second_stage(budget: Budget, first: lm.Training, name: str, arm: Arm, held: list[lm.Batch], log: Any) -> Ran:
    """Every seed's model goes on by one arm, and is judged."""

    def begin(seed: int) -> lm.Model:
        key = jax.random.fold_in(jax.random.key(seed), arm.streams)
        return arm.begin(first.model(seed), budget.prompts(seed), key)

    later = lm.Later(budget.stream, budget.first)
    run = train(begin, later, budget.second * arm.longer, arm.rate, budget.seeds, log, name)
    if arm.streams == 1:
        return Ran(run, judge(run, held, log, name), [])
    apart = [parscale.residuals(run.model(seed), held) for seed in budget.seeds]
    return Ran(run, kept(log, name, budget.seeds, [each.merged for each in apart]), apart)


def first_stage(budget: Budget, hidden_dim: int, log: Any) -> lm.Training:
    """One stream at a constant rate."""
    config, title = budget.config(hidden_dim), f"first stage, {hidden_dim} channels"
    return _train(config, budget.stream, budget.first, FIRST, budget.seeds, log, title)


def train(
    start: Callable[[int], lm.Model], stream: Any, steps: int, rate: float, seeds: tuple[int, ...], log: Any, name: str
) -> lm.Training:
    """A second stage: the rate rises over a twentieth of the steps and falls to zero."""
    return _train(start, stream, steps, lm.AdamW(rate, warmup=0.05), seeds, log, name)


def _train(
    start: Any, stream: Any, steps: int, optimiser: lm.AdamW, seeds: tuple[int, ...], log: Any, name: str
) -> lm.Training:
    told, title = 0, slugify(name)

    def report(run: lm.Training) -> None:
        nonlocal told
        losses = run.history["loss"][:, told : run.steps].mean(1)
        told = run.steps
        log.log(step=told, **{f"loss/{title}/{s}": float(x) for s, x in zip(seeds, losses, strict=True)})

    how: dict[str, Any] = {"optimiser": optimiser, "seeds": seeds, "steps_per_call": EVERY, "progress": report}
    return lm.train(start, stream, steps, folder=log.folder(title), **how)


def judge(run: lm.Training, held: list[lm.Batch], log: Any, name: str) -> np.ndarray:
    """The held-out loss of each seed's model; one after the other, as side by side SmolLM2's logits take gigabytes."""
    return kept(log, name, run.seeds, [float(lm.evaluate(run.model(seed), held).loss) for seed in run.seeds])


def kept(log: Any, name: str, seeds: tuple[int, ...], losses: list[float]) -> np.ndarray:
    """Held-out losses, one a seed, after they have been logged."""
    log.log(**{f"held-out/{slugify(name)}/{seed}": loss for seed, loss in zip(seeds, losses, strict=True)})
    return np.asarray(losses)


def ensembles(
    models: list[lm.Model], held: list[lm.Batch], tell: Callable[[str], None]
) -> dict[str, list[parscale.Residuals]]:
    """What streams could reach at most, at twice the memory; and what costs no training: passes with dropout."""
    pairs = list(zip(models, models[1:] + models[:1], strict=True))
    passes = [[dropped(model, jax.random.key(i)) for i in range(2)] for model in models]
    judged = lambda every: [parscale.residuals(list(each), held) for each in every]
    return compute({"two models": partial(judged, pairs), "two dropout passes": partial(judged, passes)}, tell)


def dropped(model: lm.Model, key: Array, share: float = 0.05) -> lm.Model:
    """The model with this share of the entries of its layers' matrices at zero, the others scaled up."""
    leaves, structure = jax.tree.flatten(model.weights["layers"])
    keys = jax.random.split(key, len(leaves))
    drop = lambda a, k: jnp.where(jax.random.bernoulli(k, 1 - share, a.shape), a / (1 - share), 0) if a.ndim > 2 else a
    layers = jax.tree.unflatten(structure, [drop(a, k) for a, k in zip(leaves, keys, strict=True)])
    return model.replace(weights=model.weights | {"layers": layers})


def claims(budget: Budget, found: Found) -> dict[str, Outcome]:
    """The effect of P, which theory explains it, and what it is worth in parameters."""
    losses = found.losses
    plain = losses["P = 1"]
    told = conditions(budget, found)
    outcomes = {}
    for streams in (2, 4):
        ours, apart = losses[f"P = {streams}"], found.apart[f"P = {streams}"]
        predicted = np.asarray([r.predicted_gain for r in apart])
        gain = 100 * (plain - ours) / plain
        outcomes[f"train.gain.p-{streams}"] = Outcome(gain, 100 * predicted / plain, -np.abs(gain), told)
        outcomes[f"train.order.p-{streams}"] = order({"P streams": ours, "one stream": plain}, told)
        outcomes[f"train.prefix.p-{streams}"] = order({"P streams": ours, "prefix": losses["prefix"]}, told)
        outcomes[f"train.theory.p-{streams}"] = theory(apart, found.apart["two models"], streams)
        merged = np.asarray([r.merged for r in apart])
        best = np.asarray([r.single.min() for r in apart])
        outcomes[f"train.merged.p-{streams}"] = order({"merged": merged, "best stream": best}, {})
        outcomes[f"train.equivalent.p-{streams}"] = equivalent(found, streams)
    outcomes["train.aggregation"] = order({"dynamic": losses["P = 2"], "mean": losses["P = 2, mean"]}, told)
    frozen = {"P = 2": losses["P = 2, frozen"], "prefix": losses["prefix, frozen"]}
    outcomes["train.recycled"] = order(frozen | {"frozen": losses["before the second stage"]}, told)
    return outcomes


def conditions(budget: Budget, found: Found) -> dict[str, Any]:
    """What was spent, and the loss of every arm."""
    steps = budget.first + budget.second
    told: dict[str, Any] = {"parameters": found.sizes["P = 1"], "bytes a seed": budget.batch * budget.length * steps}
    told |= {f"loss, {name}": mean_interval(values).words(4) for name, values in found.losses.items()}
    averaged = {name: [e.averaged for e in every] for name, every in found.apart.items() if name not in found.losses}
    return told | {f"loss, {name}": mean_interval(values).words(4) for name, values in averaged.items()}


def order(best_first: Mapping[str, np.ndarray], conditions: Mapping[str, Any]) -> Outcome:
    """Losses by name; in the broken twin nothing helps, and all are as the last one."""
    last = list(best_first.values())[-1]
    return Outcome(dict(best_first), None, dict.fromkeys(best_first, last), conditions)


def theory(apart: list[parscale.Residuals], models: list[parscale.Residuals], streams: int) -> Outcome:
    """Gain of averaging, foretold from the streams' disagreement; the twin takes that of models trained apart."""
    observed = [r.observed_gain for r in apart]
    predicted = [r.predicted_gain for r in apart]
    twin = [m.disagreement / 4 * (streams - 1) / streams for m in models]
    rho = [r.correlation(0.0) for r in apart]
    note = (
        f"averaging is worth {np.mean(observed):.4f} nats, foretold {np.mean(predicted):.4f}; the streams alone lose "
        f"{np.mean([r.single.mean() for r in apart]):.4f}; their residuals' correlation is {np.mean(rho):.3f} at most"
    )
    value = {"predicted": predicted, "observed": observed}
    return Outcome(value, None, value | {"predicted": twin}, note=note)


def equivalent(found: Found, streams: int) -> Outcome:
    """How many times the parameters reach the same loss with one stream: on the line through both plain sizes."""
    plain, wider, ours = (np.log(found.losses[name]) for name in ("P = 1", "wider", f"P = {streams}"))
    small, large = found.sizes["P = 1"], found.sizes["wider"]
    slope = float((plain - wider).mean()) / np.log(large / small)
    note = f"ln L falls by {slope:.3f} for each ln N, from {small:,} to {large:,} parameters"
    factor = np.exp((plain - ours) / slope)
    return Outcome(factor, None, np.ones_like(factor), note=note)
