"""What parallel streams cost beside more parameters: memory and seconds of generation on one device, from two roofs.

The model of the paper's figure 4 (arXiv 2505.10475; script `cost_analysis.py` of QwenLM/ParScale, on llm-analysis of
cli99): attention, feed-forward and norms each take max(FLOPs / (0.7 peak), bytes / (0.9 bandwidth)), one after another.
"""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench import data, display, hardware
from workbench.checks import integer
from workbench.hardware import ModelSpec
from workbench.parscale._roofs import BANDWIDTH_EFFICIENCY, DTYPE_BYTES, FLOPS_EFFICIENCY, LayerRoofs
from workbench.parscale._sizes import PREFIX_TOKENS as PREFIX_TOKENS
from workbench.parscale._sizes import SIZES as SIZES
from workbench.parscale._sizes import parameters as parameters
from workbench.parscale._sizes import parscale_spec as parscale_spec
from workbench.parscale._sizes import plain_transformer

LENGTHS = (64, 128, 256, 512)
"""Input and output lengths, in tokens, over whose 16 pairs figure 4 averages."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Cost:
    """Memory in bytes and latency in seconds of one generation, by part; numbers, or arrays where lengths are arrays.

    `vocabulary_s` is the embedding and the head.
    """

    model: str
    streams: int
    device: str
    weight_bytes: Any
    kv_cache_bytes: Any
    aggregation_bytes: Any
    activation_bytes: Any
    prefill_s: Any
    decode_s: Any
    vocabulary_s: Any
    aggregation_s: Any

    @property
    def memory_parts(self) -> dict[str, Any]:
        """Name → bytes."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name.endswith("_bytes")}

    @property
    def latency_parts(self) -> dict[str, Any]:
        """Name → seconds."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name.endswith("_s")}

    @property
    def memory_bytes(self) -> Any:
        """All parts together."""
        return sum(self.memory_parts.values())

    @property
    def latency_s(self) -> Any:
        """All parts together."""
        return sum(self.latency_parts.values())

    def _facts(self) -> dict[str, str]:
        mean = lambda value: display.number(float(np.mean(value)))
        settings = max(np.size(value) for value in (self.memory_bytes, self.latency_s))
        facts = {"streams": str(self.streams), "device": self.device}
        facts |= {"settings": f"{settings}, their mean"} if settings > 1 else {}
        facts |= {"memory": f"{mean(self.memory_bytes / 2**30)} GiB", "latency": f"{mean(self.latency_s)} s"}
        parts = self.memory_parts | self.latency_parts
        return facts | {name.replace("_", " "): mean(value) for name, value in parts.items()}

    def __repr__(self) -> str:
        return f"Cost({self.model}, " + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card(f"Cost of {self.model}", self._facts())


def cost(
    model: str | ModelSpec,
    streams: int,
    batch: ArrayLike = 1,
    input_tokens: ArrayLike = 64,
    output_tokens: ArrayLike = 64,
    device: str | hardware.DeviceSpec = "A100-80GB",
    *,
    prefix_tokens: int = PREFIX_TOKENS,
    dtype: str = "bfloat16",
    flops_efficiency: float = FLOPS_EFFICIENCY,
    bandwidth_efficiency: float = BANDWIDTH_EFFICIENCY,
) -> Cost:
    """Memory and latency of reading `input_tokens` and writing `output_tokens` for `batch` sequences in P streams.

    With P > 1 streams, P·batch rows pass the layers, each prefix_tokens longer. Memory: weights; the cache of all rows
    at their full length; 2 (h + 1) h P bytes of aggregation; the largest activation of the prompt, max(a layer's for
    the rows, the logits of the batch). Latency: the layers over the prompt; for each token written the layers over one
    token and the full cache read and written; the embedding (its whole table, every pass) and the head; the
    aggregation, as much of a feed-forward's time over all tokens as it has of its weights.

    As in the published script, the aggregation is charged once and not for each token written, and the prefix
    positions pass the head in every row.

    `model` is one of SIZES, or a ModelSpec of like layers: attention without a window, a dense feed-forward. `batch`
    and the lengths may be arrays that broadcast, and fractions. Raises ValueError that names the argument.
    """
    spec, attention, feed_forward = plain_transformer(model)
    integer("streams", streams, 1)
    integer("prefix_tokens", prefix_tokens, 0)
    b, read, written = _sizes(batch=batch, input_tokens=input_tokens, output_tokens=output_tokens)
    unit = device if isinstance(device, hardware.DeviceSpec) else hardware.device(device)
    layer = LayerRoofs(spec.hidden_dim, attention, feed_forward, unit, dtype, flops_efficiency, bandwidth_efficiency)
    rows, prefix = b * streams, prefix_tokens if streams > 1 else 0
    tokens = read + prefix
    cache = spec.kv_cache_bytes(1, dtype_bytes=DTYPE_BYTES) * rows * (tokens + written)
    aggregation = (spec.hidden_dim + 1) * spec.hidden_dim * streams if streams > 1 else 0
    table = spec.vocab * spec.hidden_dim
    logits = DTYPE_BYTES * spec.vocab * b * tokens
    head_s = layer.seconds(2 * table * (b * (read + written) + rows * prefix), 0)
    return Cost(
        model=model if isinstance(model, str) else spec.name,
        streams=streams,
        device=unit.name,
        weight_bytes=spec.weight_bytes(DTYPE_BYTES),
        kv_cache_bytes=_plain(cache),
        aggregation_bytes=DTYPE_BYTES * aggregation,
        activation_bytes=_plain(np.maximum(DTYPE_BYTES * rows * tokens * layer.width, logits)),
        prefill_s=_plain(spec.layers * layer.all_s(rows, tokens)),
        decode_s=_plain(written * (spec.layers * layer.all_s(rows, 1) + layer.seconds(0, 2 * cache))),
        vocabulary_s=_plain((1 + written) * layer.seconds(0, DTYPE_BYTES * table) + head_s),
        aggregation_s=_plain(aggregation / layer.mlp_weights * layer.mlp_s(b * (read + written))),
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EqualLoss:
    """How much more memory and latency parameters add than streams do, at the same loss, over one stream of `size`.

    The increases are in bytes and seconds, means over the pairs of lengths; a ratio is parameters' over streams'.
    """

    size: str
    streams: int
    loss: float
    parameters_bytes: Any
    parameters_s: Any
    streams_bytes: Any
    streams_s: Any

    @property
    def memory_ratio(self) -> Any:
        """Increase of memory by parameters, over that by streams."""
        return self.parameters_bytes / self.streams_bytes

    @property
    def latency_ratio(self) -> Any:
        """Increase of latency by parameters, over that by streams; below 1, streams are the slower way."""
        return self.parameters_s / self.streams_s

    def _facts(self) -> dict[str, str]:
        times = lambda ratios: ", ".join(f"{display.number(r)}x" for r in np.atleast_1d(ratios).ravel())
        return {
            "loss": display.number(self.loss, 5),
            "memory": f"parameters add {times(self.memory_ratio)} what streams add",
            "latency": f"parameters add {times(self.latency_ratio)} what streams add",
        }

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}: {value}" for name, value in self._facts().items())
        return f"EqualLoss({self.size} in {self.streams} streams, {facts})"

    def _repr_html_(self) -> str:
        return display.card(f"{self.size} in {self.streams} streams, beside more parameters", self._facts())


def equal_loss_ratio(
    batch: ArrayLike = 1,
    *,
    size: str = "1.6B",
    streams: int = 8,
    corpus: str = "stack",
    loss: float | None = None,
    lengths: tuple[int, ...] = LENGTHS,
    output_lengths: tuple[int, ...] | None = None,
    **settings: Any,
) -> EqualLoss:
    """Streams beside parameters at equal loss: the "up to 22x less memory, 6x less latency" of the abstract.

    The wider model with one stream that reaches the same loss lies between two published sizes; its memory and latency
    are interpolated linearly in the loss. The losses are those published for `corpus`, "stack" or "pile"; `loss`
    replaces that of the streams. Means over all pairs of an input length of `lengths` and an output length of
    `output_lengths`, the same ones if left out; `settings` go to `cost`. `batch` may be an array.

    Raises ValueError for streams < 2, a size that is not in SIZES, another corpus, and a loss that is not published, or
    not between that of `size` and that of the largest with one stream.
    """
    integer("streams", streams, 2)
    if size not in SIZES:
        raise ValueError(f"size: {size!r}, must be one of {', '.join(SIZES)}")
    losses = _losses(corpus)
    line = {known: losses[parameters(known, 1), 1] for known in SIZES}
    loss = losses.get((parameters(size, streams), streams)) if loss is None else loss
    if loss is None or not line["4.4B"] <= loss < line[size]:
        between = f"at least {line['4.4B']} and below {line[size]}, that of {size} with one stream"
        raise ValueError(f"loss: {loss!r}, must be {between}")
    pairs = np.meshgrid(lengths, lengths if output_lengths is None else output_lengths)
    means = lambda size, streams: _means(size, streams, batch, pairs, settings)
    steps = itertools.pairwise(line.items())
    near, above, far, below = next((a, x, b, y) for (a, x), (b, y) in steps if x >= loss >= y)
    share = (above - loss) / (above - below)
    wider = [(1 - share) * n + share * f for n, f in zip(means(near, 1), means(far, 1), strict=True)]
    base, wide = means(size, 1), means(size, streams)
    increases = [_plain(value - b) for values in (wider, wide) for value, b in zip(values, base, strict=True)]
    return EqualLoss(size, streams, loss, *increases)


def crossover_batch(low: float = 1.0, high: float = 64.0, **settings: Any) -> float:
    """The batch, a real number, at which streams add as much latency as parameters do at equal loss.

    Bisection of latency_ratio = 1 over the batch in [low, high], to 10⁻⁶; `settings` go to `equal_loss_ratio`. Raises
    ValueError where the ratio does not pass 1 from above in that range.
    """
    ahead = lambda batch: equal_loss_ratio(batch, **settings).latency_ratio > 1
    if not 0 < low < high:
        raise ValueError(f"low, high: {low!r}, {high!r}, must be above 0 and in this order")
    if not ahead(low) or ahead(high):
        raise ValueError(f"low, high: {low!r}, {high!r}, must have the crossover of the latencies between them")
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if ahead(middle) else (low, middle)
    return (low + high) / 2


@functools.cache
def _losses(corpus: str) -> dict[tuple[int, int], float]:
    """(N, streams) → published loss, nats a token."""
    table = data.published("parscale-losses")
    if corpus not in (known := table["corpus"].unique().sort().to_list()):
        raise ValueError(f"corpus: {corpus!r}, must be one of {', '.join(known)}")
    rows = table.filter(corpus=corpus).select("parameters", "streams", "loss").iter_rows()
    return {(count, streams): loss for count, streams, loss in rows}


def _means(size: str, streams: int, batch: ArrayLike, pairs: Any, settings: dict[str, Any]) -> list[Any]:
    """Mean bytes and mean seconds over the pairs of lengths."""
    found = cost(size, streams, np.asarray(batch)[..., None, None], *pairs, **settings)
    return [total.mean((-2, -1)) for total in (found.memory_bytes, found.latency_s)]


def _sizes(**named: ArrayLike) -> list[np.ndarray]:
    arrays = {}
    for name, value in named.items():
        try:
            arrays[name] = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: {value!r}, must be numbers") from None
        if not (np.isfinite(arrays[name]).all() and (arrays[name] > 0).all()):
            raise ValueError(f"{name}: {value!r}, must be finite and above 0")
    try:
        return list(np.broadcast_arrays(*arrays.values()))
    except ValueError:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"shapes: {shapes}, must broadcast") from None


def _plain(value: Any) -> Any:
    """A Python number where there is only one."""
    return value.item() if np.ndim(value) == 0 and hasattr(value, "item") else value
