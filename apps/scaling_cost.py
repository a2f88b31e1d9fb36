"""What streams cost beside parameters, as the page on parallel streams asks for it: ratios, crossovers, parts."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from apps.scaling_data import STREAMS, losses
from workbench import hardware

LENGTHS = (64, 128, 256, 512)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
_DENSE = tuple(np.geomspace(1, 64, 49).tolist())
DEVICE = "A100-80GB-SXM"  # that of the paper
PARTS = {  # of the cost, as a person reads them
    "weight_bytes": "weights", "kv_cache_bytes": "cache", "aggregation_bytes": "merging", "activation_bytes":
    "activations", "memory_bytes": "all", "prefill_s": "prompt", "decode_s": "tokens", "vocabulary_s": "vocabulary",
    "aggregation_s": "merging", "latency_s": "all",
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """One comparison: a size in so many streams, its losses, and the lengths that are averaged over."""

    size: str = "1.6B"
    streams: int = 8
    corpus: str = "stack"
    inputs: tuple[int, ...] = LENGTHS
    outputs: tuple[int, ...] = LENGTHS

    def settings(self, device: str) -> dict[str, Any]:
        """The arguments of `parscale.equal_loss_ratio`, without those that are its defaults."""
        given: dict[str, Any] = {"size": self.size, "streams": self.streams, "corpus": self.corpus}
        given |= {"lengths": self.inputs, "output_lengths": self.outputs, "device": device, "dtype": dtype(device)}
        usual = {"lengths": LENGTHS, "output_lengths": self.inputs, "dtype": "bfloat16"}
        return {name: value for name, value in given.items() if usual.get(name) != value}

    def published(self, device: str) -> bool:
        """Whether this is what the paper's figure shows."""
        return self == Choice() and device == DEVICE


def devices() -> tuple[str, ...]:
    """The devices that the cost model can price: those with a rate for 16 bits."""
    known = (DEVICE, *(spec.name for spec in hardware.devices() if spec.name != DEVICE))
    return tuple(name for name in known if dtype(name))


def dtype(device: str) -> str:
    """The 16 bits that a device has a rate for; empty when it has none."""
    spec = hardware.device(device)
    if spec.bfloat16_flop_per_s:
        return "bfloat16"
    return "float16" if spec.float16_flop_per_s else ""


def reason(choice: Choice) -> str:
    """Why streams cannot be held against parameters here, as a sentence; empty when they can."""
    table = losses(choice.corpus)
    one = dict(table.filter(streams=1).select("size", "loss").iter_rows())
    reached = dict(table.filter(streams=choice.streams).select("size", "loss").iter_rows()).get(choice.size)
    largest = list(one)[-1]
    if reached is None:
        return f"No loss is published for {choice.size} with {choice.streams} streams."
    if reached < one[largest]:
        return (
            f"{choice.size} with {choice.streams} streams reach {reached:g} nats a token. The largest published model "
            f"with one stream, {largest}, reaches {one[largest]:g}: there is no model to price that is as good. "
            "Choose a smaller size or fewer streams."
        )
    return ""


@functools.lru_cache(maxsize=512)
def ratios(choice: Choice, device: str, batches: tuple[float, ...] = BATCHES) -> pl.DataFrame:
    """A row a batch: what parameters add over what streams add, in memory and in latency, and both in bytes and s."""
    from workbench import parscale

    found = parscale.equal_loss_ratio(np.array(batches, float), **choice.settings(device))
    return pl.DataFrame({
        "device": device, "batch": batches, "memory_ratio": found.memory_ratio, "latency_ratio": found.latency_ratio,
        "parameters_bytes": found.parameters_bytes, "streams_bytes": found.streams_bytes,
        "parameters_s": found.parameters_s, "streams_s": found.streams_s,
    })  # fmt: skip


def dense(choice: Choice, device: str) -> pl.DataFrame:
    """The same at enough batches for a curve."""
    return ratios(choice, device, _DENSE)


@functools.lru_cache(maxsize=512)
def crossover(choice: Choice, device: str) -> float | None:
    """The batch at which streams add as much latency as parameters; None where that is not between 1 and 64."""
    from workbench import parscale

    ends = ratios(choice, device)["latency_ratio"]
    return parscale.crossover_batch(**choice.settings(device)) if ends[0] > 1 >= ends[-1] else None


def crossover_text(choice: Choice, device: str) -> str:
    """The same in words."""
    batch = crossover(choice, device)
    if batch is not None:
        return f"batch {batch:.1f}"
    return "beyond 64" if ratios(choice, device)["latency_ratio"][0] > 1 else "below 1"


@functools.lru_cache(maxsize=512)
def parts(choice: Choice, device: str, batch: int) -> pl.DataFrame:
    """A row for each published number of streams: bytes and seconds by part, means over the lengths."""
    from workbench import parscale

    pairs = np.meshgrid(choice.inputs, choice.outputs)
    rows = []
    for streams in STREAMS:
        found = parscale.cost(choice.size, streams, batch, *pairs, device=device, dtype=dtype(device))
        named = found.memory_parts | {"memory_bytes": found.memory_bytes}
        named |= found.latency_parts | {"latency_s": found.latency_s}
        row = {"device": device, "batch": batch, "streams": streams}
        rows.append(row | {name: float(np.mean(value)) for name, value in named.items()})
    return pl.DataFrame(rows)
