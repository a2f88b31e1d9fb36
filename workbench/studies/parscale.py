"""ParScale (arXiv 2505.10475): its law fitted to its published losses, its models counted, its cost model run.

The full preset trains small models with one and with several streams, too.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from workbench import data, hardware, lm, parscale, scaling
from workbench.studies import _parscale_recycling as recycling
from workbench.studies import _parscale_training as training
from workbench.studies._jobs import counter
from workbench.study import Outcome, slugify

CORPORA = {"Stack": "parscale-stack", "Pile": "parscale-pile"}
BATCHES = (1, 2, 4, 8)
GIB = 2**30


@dataclass(frozen=True)
class Config:
    """How many starts the fits take (300 are the published grid), and what is trained; None trains nothing."""

    starts: int = 300
    trained: training.Budget | None = None
    recycled: recycling.Budget | None = None


PRESETS = {
    "quick": Config(),
    "full": Config(trained=training.Budget(), recycled=recycling.Budget()),
    "gpu": Config(
        trained=training.Budget(layers=8, hidden_dim=512, wider=640, heads=8, length=512, first=20_000, second=5_000),
        recycled=recycling.Budget(batch=16, length=512, steps=1_000, windows=256, limit_bytes=8_000_000),
    ),
}


def run(config: Config, log: Any) -> dict[str, Outcome]:
    """All outcomes of the study, by claim."""
    parts = (laws, losses, needs_streams, counted, cost_ratios, cost_parts)
    # SmolLM2 comes in a package of its own; without it its claim stays untested.
    recycled = config.recycled if lm.available()[recycling.MODEL] else None
    total = len(parts) + (training.PARTS if config.trained else 0) + (len(recycling.ARMS) if recycled else 0)
    tell = counter(log, total)
    outcomes: dict[str, Outcome] = {}
    for part in parts:
        outcomes |= part(config, log)
        tell(part.__name__.replace("_", " "))
    if config.trained:
        outcomes |= training.claims(config.trained, training.run(config.trained, log, tell))
    if recycled:
        outcomes |= recycling.run(recycled, log, tell)
    return outcomes


def laws(config: Config, log: Any) -> dict[str, Outcome]:
    """The fitted constants and R2 of both corpora; each one's broken twin is the other's, R2's a law without P."""
    fitted = {corpus: scaling.fit(scaling.published(name), starts=config.starts) for corpus, name in CORPORA.items()}
    outcomes = {}
    for corpus, other in (("Stack", "Pile"), ("Pile", "Stack")):
        law, plain = fitted[corpus], scaling.fit(fitted[corpus].losses, scaling.ChinchillaLaw())
        log.log(**{f"law/{corpus}/{name}": value for name, value in law.params.items()}, **{f"law/{corpus}/R2": law.r2})
        for name, value in law.params.items():
            lo, hi = law.interval(name)
            note = f"90 % profile interval {lo:.4g} to {hi:.4g}; {law.status}"
            control = fitted[other].params[name]
            outcomes[f"law.{corpus.lower()}.{slugify(name)}"] = Outcome(value, None, control, note=note)
        outcomes[f"law.{corpus.lower()}.r2"] = Outcome(law.r2, None, plain.r2)
    return outcomes


def losses(config: Config, log: Any) -> dict[str, Outcome]:
    """Every published loss as foretold by the law fitted to the 23 others; the broken twin is the other corpus's."""
    foretold = {
        name: scaling.foretell(scaling.published(name), starts=config.starts).tolist() for name in CORPORA.values()
    }
    outcomes, places = {}, dict.fromkeys(("stack", "pile"), 0)
    for row in data.published("parscale-losses").iter_rows(named=True):
        corpus, other = row["corpus"], "pile" if row["corpus"] == "stack" else "stack"
        place = places[corpus]
        places[corpus] += 1
        ours, twin = (foretold[f"parscale-{each}"][place] for each in (corpus, other))
        outcomes[f"loss.{corpus}.{row['size'].lower()}.p{row['streams']}"] = Outcome(modelled=ours, control=twin)
    return outcomes


def needs_streams(config: Config, log: Any) -> dict[str, Outcome]:
    """Errors of all forms on a P that they have not seen; the broken twin swaps the law with that without P."""
    outcomes = {}
    for corpus, name in CORPORA.items():
        ranked = scaling.rank(scaling.published(name), starts=config.starts)
        errors = dict(zip(ranked["form"], ranked["left_out_error"], strict=True))
        law, plain = errors[repr(scaling.ParScaleLaw())], errors[repr(scaling.ChinchillaLaw())]
        log.log(**{f"left out/{corpus}/{form}": error for form, error in errors.items()})
        note = "root mean square of ln L left out: " + ", ".join(f"{form} {e:.2g}" for form, e in errors.items())
        ours, twin = {"ParScale": law**2, "Chinchilla": plain**2}, {"ParScale": plain**2, "Chinchilla": law**2}
        outcomes[f"law.{corpus.lower()}.needs-p"] = Outcome(ours, None, twin, note=note)
    return outcomes


def counted(config: Config, log: Any) -> dict[str, Outcome]:
    """The 24 parameter counts; the broken twin has a stream more."""
    return {
        f"parameters.{size.lower()}.p{streams}": Outcome(
            parscale.parameters(size, streams), None, parscale.parameters(size, streams + 1)
        )
        for size in parscale.SIZES
        for streams in (1, 2, 4, 8)
    }


def cost_ratios(config: Config, log: Any) -> dict[str, Outcome]:
    """Equal loss by parameters or by streams; the broken twins hold a model a stream, or know no memory traffic."""
    batches, known = np.array(BATCHES, float), hardware.device("A100-80GB")
    faster = lambda times: replace(known, memory_bandwidth_bytes_per_s=times * known.memory_bandwidth_bytes_per_s)
    found, blind = (parscale.equal_loss_ratio(batches, device=device) for device in (known, faster(1e4)))
    copies = found.parameters_bytes / (7 * parscale.parscale_spec(*parscale.SIZES["1.6B"]).weight_bytes(2))
    outcomes = {}
    for at, batch in enumerate(BATCHES):
        log.log(step=batch, **{"ratio/memory": found.memory_ratio[at], "ratio/latency": found.latency_ratio[at]})
        outcomes[f"cost.memory.batch-{batch}"] = Outcome(modelled=found.memory_ratio[at], control=copies[at])
        outcomes[f"cost.latency.batch-{batch}"] = Outcome(
            modelled=found.latency_ratio[at], control=blind.latency_ratio[at]
        )
    outcomes["cost.memory.abstract"] = outcomes["cost.memory.batch-1"]
    outcomes["cost.latency.abstract"] = outcomes["cost.latency.batch-1"]
    twin = parscale.crossover_batch(device=faster(3))
    outcomes["cost.latency.crossover"] = Outcome(modelled=parscale.crossover_batch(), control=twin)
    return outcomes


def cost_parts(config: Config, log: Any) -> dict[str, Outcome]:
    """Memory and latency of six models, means over 16 pairs of lengths; the broken twin is the next size."""
    lengths = np.meshgrid(parscale.LENGTHS, parscale.LENGTHS)
    sizes, outcomes = ("1.6B", "2.8B", "4.4B", "0.5B"), {}
    for size, twin in pairwise(sizes):
        for streams in (1, 8):
            ours, other = (parscale.cost(name, streams, 1, *lengths) for name in (size, twin))
            key = f"cost.absolute.{slugify(f'{size} P={streams}')}"
            memory = (float(np.mean(cost.memory_bytes)) / GIB for cost in (ours, other))
            latency = (float(np.mean(cost.latency_s)) for cost in (ours, other))
            for column, (value, control) in {"memory-in-gb": memory, "latency-in-s": latency}.items():
                outcomes[f"{key}.{column}"] = Outcome(modelled=value, control=control)
    return outcomes
