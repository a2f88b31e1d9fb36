"""Where the gain of parallel streams begins: width, steps, prefixes and recipe, one after the other.

    python benchmarks/parscale.py            # about twenty minutes on two quiet cores
    python benchmarks/parscale.py --quick    # a few steps: does it work

The full preset of the study `parscale` holds one setting with five seeds; this holds many with one: small models of
bytes (3 layers, windows of 64, 16 a batch), trained for 1500 steps with one stream and then for `second` with the arm's
streams, or (`two_stages` false) with them from the start. Losses are in nats a byte on 3200 windows of files that were
not trained on; the noise between seeds is about 0.001 to 0.003, so single rows say little and columns more. A whole run
goes to `benchmarks/results/parscale.json`.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from _record import keep

from workbench import lm, parscale
from workbench.studies._parscale_training import FIRST, Arm, Budget

SEED = 0
PLAIN, ONE, TWO, FOUR = Arm(prefix="none"), Arm(), Arm(2), Arm(4)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model: an arm, the width and the steps it gets."""

    arm: Arm
    hidden_dim: int = 64
    second: int = 500
    prefix_tokens: int = 14
    two_stages: bool = True


def cells() -> Iterator[Cell]:
    """All settings, each beside one stream without and with a prefix."""
    for width in (32, 64, 96):
        yield from (Cell(arm, width) for arm in (PLAIN, ONE, TWO, FOUR))
        yield from (Cell(arm, width, 2000) for arm in (PLAIN, ONE, TWO))
    for prefix in (4, 48):
        yield from (Cell(arm, prefix_tokens=prefix) for arm in (ONE, TWO))
    for scale in (0.02, 1.0):
        yield from (Cell(noisy(arm, scale)) for arm in (ONE, TWO))
    yield Cell(PLAIN, second=2000, two_stages=False)
    yield Cell(noisy(TWO, 0.3), second=2000, two_stages=False)


def noisy(arm: Arm, scale: float) -> Arm:
    """The arm with prefixes of noise."""
    return dataclasses.replace(arm, prefix="noise", scale=scale)


def main() -> None:
    """Train every cell, print a line each, keep all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps a cell; writes nothing")
    quick = parser.parse_args().quick
    first: dict[int, lm.Training] = {}
    rows = []
    for cell in cells():
        rows.append(row := measure(cell, first, quick))
        print(
            "  ".join(
                f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
            ),
            flush=True,
        )
    if not quick:
        print(f"kept in {keep('parscale', {'rows': rows})}")


def measure(cell: Cell, first: dict[int, lm.Training], quick: bool) -> dict[str, Any]:
    """A row: the setting, the loss, and how far the streams are apart."""
    budget = Budget(seeds=(SEED,), prefix_tokens=cell.prefix_tokens, windows=32 if quick else 3200)
    steps = {"first": 20, "second": 10} if quick else {"first": 1500, "second": cell.second}
    config, stream, began = budget.config(cell.hidden_dim), budget.stream, time.perf_counter()
    if cell.two_stages and cell.hidden_dim not in first:
        first[cell.hidden_dim] = lm.train(config, stream, steps["first"], optimiser=FIRST, seeds=(SEED,))
    base = first[cell.hidden_dim].model(SEED) if cell.two_stages else lm.init(config, jax.random.key(SEED))
    later = lm.Later(stream, steps["first"]) if cell.two_stages else stream
    start = cell.arm.begin(base, budget.prompts(SEED), jax.random.fold_in(jax.random.key(SEED), cell.arm.streams))
    run = lm.train(start, later, steps["second"], optimiser=lm.AdamW(3e-3, warmup=0.05), seeds=(SEED,))
    model, held = run.model(SEED), budget.held_out
    apart = parscale.residuals(model, held) if cell.arm.streams > 1 else None
    row: dict[str, Any] = {
        "hidden_dim": cell.hidden_dim, "second": cell.second, "two_stages": cell.two_stages,
        "streams": cell.arm.streams, "prefix": cell.arm.prefix, "prefix_tokens": cell.prefix_tokens,
        "scale": cell.arm.scale if cell.arm.prefix == "noise" else None,
        "parameters": lm.count_parameters(model, embedding=False),
        "loss": apart.merged if apart else float(lm.evaluate(model, held).loss),
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
    if cell.arm.prefix == "none":
        row["prefix_tokens"] = 0
    if apart:
        row |= {"alone": float(np.mean(apart.single)), "averaged": apart.averaged, "predicted": apart.predicted_gain}
    return row


if __name__ == "__main__":
    main()
