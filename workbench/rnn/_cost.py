"""What a recurrence costs on a GPU that is not here: one step after the other, or all at once by Newton and a scan.

    t_seq = max(T * step_overhead_s, T * N * step_bytes / BW)
    t_par = K * (T * N * iteration_bytes / BW + kernels * launch_s + ceil(log2 T) * level_s)            (unfused)
    t_par = launch_s + T * N * iteration_bytes / BW + K * ceil(log2 T) * level_s                        (fused)

T steps, N = batch * state lanes, K iterations, BW memory bandwidth. The sequential side is bound by launches until N
lanes fill the memory bus; the parallel side grows with T * N, so that the speed-up saturates when T * N fills the card.
ParaRNN (arXiv 2510.21450, figure 1, section 5.1, appendix B); DEER (arXiv 2309.12252). All pure, arrays welcome.
"""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from workbench import hardware

FLOAT_BYTES = 4
ITERATIONS = 3
"""Newton iterations of the published timings (ParaRNN, appendix B)."""
FUSED_LEVEL_S = 1e-7
"""Assumed: one level of a reduction inside a kernel (shuffle and barrier), about 0.1 us; no source prints it."""
UNFUSED_LEVEL_KERNELS = 2
"""Assumed: a level of a scan built from array operations is one kernel on the way up and one on the way down."""
PUBLISHED_LENGTH = 512
PUBLISHED_SPEED_UPS = {"ParaGRU": 447.0, "ParaLSTM": 665.0}
"""Fused kernel over sequential application, T = 512, one A100 (ParaRNN, figure 1). The two rows of the fit."""
ASSUMED_LANES = 16384
"""Assumed: the published timings do not say how many lanes they ran."""
NUMBERS = {"ParaGRU": (3, 1), "ParaLSTM": (3, 2)}
"""Numbers a lane and step: read (the gates' projections) and written (the state)."""
ASSEMBLED_NUMBERS = {"ParaGRU": 12, "ParaLSTM": 24}
"""Numbers a lane, step and iteration when evaluation, scan and update are three kernels; J is 1 or 4 of them."""
HELD_OUT_RATIOS = {
    "fused ParaLSTM over fused ParaGRU": 2.6 / 1.5,
    "assembled over fused, ParaGRU": 2.6 / 1.2,
    "assembled over fused, ParaLSTM": 1.5 / 0.5,
}
"""Ratios of times at T = 512 from the ratios to Mamba that ParaRNN prints (section 5.1): 1.2, 0.5; fused 2.6, 1.5."""


@dataclasses.dataclass(frozen=True)
class GpuModel:
    """The parameters of the two times, one cell on one device; `step_overhead_s` is n_kernels * t_launch.

    `step_bytes` a lane that the sequential loop moves a step; `iteration_bytes` a lane and step that a parallel
    iteration moves (fused: all iterations together); `kernels` launches of an unfused iteration beside its scan.
    Raises ValueError for a number that is not finite and above 0.
    """

    step_overhead_s: float
    step_bytes: float
    iteration_bytes: float
    level_s: float
    launch_s: float
    bandwidth_bytes_per_s: float
    iterations: int = ITERATIONS
    kernels: int = 3
    fused: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "fused" and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field.name}: {value!r}, must be a finite number above 0")


@dataclasses.dataclass(frozen=True)
class Row:
    """One published figure beside the model's."""

    name: str
    published: float
    modelled: float

    @property
    def error(self) -> float:
        """modelled / published - 1."""
        return self.modelled / self.published - 1


@dataclasses.dataclass(frozen=True)
class Fit:
    """A cost model fitted to published rows. A FIT, no prediction: `fitted` rows are matched by construction.

    `models` by cell; `fitted_parameters` names what was fitted; `assumed` what neither a source nor the fit gives;
    `held_out` are rows that the fit has not seen, and they are what says how good it is.
    """

    device: str
    models: dict[str, GpuModel]
    fitted_parameters: tuple[str, ...]
    fitted: tuple[Row, ...]
    held_out: tuple[Row, ...]
    assumed: dict[str, float]

    def __str__(self) -> str:
        lines = [f"A fit on {self.device}: {', '.join(self.fitted_parameters)}, from {len(self.fitted)} published rows"]
        lines += [f"  assumed  {name} = {value:g}" for name, value in self.assumed.items()]
        for kind, rows in (("fitted", self.fitted), ("held out", self.held_out)):
            lines += [f"  {kind:8} {r.name}: published {r.published:.4g}, modelled {r.modelled:.4g}" for r in rows]
        return "\n".join(lines)


def sequential_s(model: GpuModel, time: ArrayLike, lanes: ArrayLike) -> Array:
    """t_seq in seconds: `time` steps one after the other, launch-bound or memory-bound, whichever is longer."""
    time, lanes = _floats(time, lanes)
    moved = lanes * model.step_bytes / model.bandwidth_bytes_per_s
    return time * jnp.maximum(model.step_overhead_s, moved)


def parallel_s(model: GpuModel, time: ArrayLike, lanes: ArrayLike) -> Array:
    """t_par in seconds: all steps at once."""
    time, lanes = _floats(time, lanes)
    levels = jnp.ceil(jnp.log2(time) - 1e-5)  # a power of two is not rounded up
    moved = time * lanes * model.iteration_bytes / model.bandwidth_bytes_per_s
    if model.fused:
        return model.launch_s + moved + model.iterations * levels * model.level_s
    return model.iterations * (moved + model.kernels * model.launch_s + levels * model.level_s)


def speed_up(model: GpuModel, time: ArrayLike, lanes: ArrayLike) -> Array:
    """t_seq / t_par."""
    return sequential_s(model, time, lanes) / parallel_s(model, time, lanes)


def crossover(model: GpuModel, time: ArrayLike) -> Array:
    """Up to which T * N the parallel way is the faster one at `time` steps; 0 where it never is, inf where always.

    From t_par = T * step_overhead_s, while the loop is launch-bound; beyond that both move bytes, and the fewer win.
    """
    (time,) = _floats(time)
    fixed, rate = parallel_s(model, time, 0.0), parallel_s(model, time, 1.0) - parallel_s(model, time, 0.0)
    product = time * (time * model.step_overhead_s - fixed) / rate
    overtaken = time * model.step_overhead_s * model.bandwidth_bytes_per_s / model.step_bytes
    always = (product > overtaken) & (rate <= time * model.step_bytes / model.bandwidth_bytes_per_s)
    return jnp.where(always, jnp.inf, jnp.maximum(product, 0.0))


def unfused(name: str, device: hardware.DeviceSpec, step_overhead_s: float) -> GpuModel:
    """The model of evaluation, scan and update as array operations, each level of the scan launched by the host."""
    read, written = NUMBERS[name]
    level_s = UNFUSED_LEVEL_KERNELS * device.launch_overhead_s
    return dataclasses.replace(
        _fused(name, device, step_overhead_s),
        step_bytes=FLOAT_BYTES * (read + 2 * written),
        iteration_bytes=FLOAT_BYTES * ASSEMBLED_NUMBERS[name],
        level_s=level_s,
        fused=False,
    )


def fit_cost(device: hardware.DeviceSpec | None = None, *, lanes: int = ASSUMED_LANES) -> Fit:
    """Fit `step_overhead_s` = n_kernels * t_launch of each cell on its published speed-up (447x, 665x) at T = 512.

    Each row fixes one parameter, given the parallel time that the data sheet and the assumptions give; only the ratio
    of the two is identified. Held out: the ratios of section 5.1, and the shape of DEER's table (V100, T = 1k..300k,
    speed-ups relative to T = 1k). `device`: default A100-80GB. Raises ValueError for lanes < 1.
    """
    if isinstance(lanes, bool) or not isinstance(lanes, int) or lanes < 1:
        raise ValueError(f"lanes: {lanes!r}, must be an integer of at least 1")
    device = hardware.device("A100-80GB") if device is None else device
    models, rows = {}, []
    for name, published in PUBLISHED_SPEED_UPS.items():
        parallel = float(parallel_s(_fused(name, device, 1.0), PUBLISHED_LENGTH, lanes))
        models[name] = _fused(name, device, published * parallel / PUBLISHED_LENGTH)
        rows.append(Row(f"{name}, T = {PUBLISHED_LENGTH}", published, _at(models[name], lanes)))
    assumed = {
        "lanes": float(lanes),
        "level_s": FUSED_LEVEL_S,
        "launch_s": device.launch_overhead_s,
        "unfused_level_kernels": UNFUSED_LEVEL_KERNELS,
    }
    held_out = (*_ratios(models, device, lanes), *deer_shape())
    parameters = tuple(f"step_overhead_s of {name}" for name in models)
    return Fit(device.name, models, parameters, tuple(rows), held_out, assumed)


def deer_shape() -> tuple[Row, ...]:
    """DEER's speed-ups on a V100, hidden size 1, relative to that at T = 1000, beside the unfused model's shape.

    Nothing is fitted: relative speed-ups do not depend on `step_overhead_s`. One lane; the batch size is not stated.
    """
    from workbench import data

    table = data.published("pararnn-deer").sort("length")
    lengths, published = table["length"].to_list(), table["speedup"].to_list()
    model = unfused("ParaGRU", hardware.device("V100"), step_overhead_s=1e-5)
    modelled = [float(speed_up(model, length, 1)) for length in lengths]
    return tuple(
        Row(f"DEER, T = {length} over T = {lengths[0]}", p / published[0], m / modelled[0])
        for length, p, m in list(zip(lengths, published, modelled, strict=True))[1:]
    )


def _ratios(models: dict[str, GpuModel], device: hardware.DeviceSpec, lanes: int) -> tuple[Row, ...]:
    fused = {name: parallel_s(model, PUBLISHED_LENGTH, lanes) for name, model in models.items()}
    assembled = {
        name: parallel_s(unfused(name, device, model.step_overhead_s), PUBLISHED_LENGTH, lanes)
        for name, model in models.items()
    }
    modelled = (
        fused["ParaLSTM"] / fused["ParaGRU"],
        assembled["ParaGRU"] / fused["ParaGRU"],
        assembled["ParaLSTM"] / fused["ParaLSTM"],
    )
    return tuple(Row(name, p, float(m)) for (name, p), m in zip(HELD_OUT_RATIOS.items(), modelled, strict=True))


def _fused(name: str, device: hardware.DeviceSpec, step_overhead_s: float) -> GpuModel:
    numbers = sum(NUMBERS[name])
    return GpuModel(
        step_overhead_s=step_overhead_s,
        step_bytes=FLOAT_BYTES * (numbers + NUMBERS[name][1]),
        iteration_bytes=FLOAT_BYTES * numbers,
        level_s=FUSED_LEVEL_S,
        launch_s=device.launch_overhead_s,
        bandwidth_bytes_per_s=device.memory_bandwidth_bytes_per_s,
    )


def _at(model: GpuModel, lanes: int) -> float:
    return float(speed_up(model, PUBLISHED_LENGTH, lanes))


def _floats(*values: ArrayLike) -> tuple[Array, ...]:
    arrays = tuple(jnp.asarray(v, jnp.result_type(float)) for v in values)
    return tuple(jnp.broadcast_arrays(*arrays))
