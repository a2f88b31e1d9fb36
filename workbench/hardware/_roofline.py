"""The roofline: work takes the time of its operations or that of its bytes, whichever is longer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from workbench import display
from workbench.hardware._devices import DeviceSpec
from workbench.hardware._devices import device as find_device


@dataclass(frozen=True, eq=False)
class Roofline:
    """Seconds of some work on one device, as numbers or as arrays.

    `compute_s` and `memory_s` are what the operations and the bytes take alone; `intensity_flop_per_byte` is infinite
    where nothing is moved, nan where there is nothing to do.
    """

    compute_s: Any
    memory_s: Any
    intensity_flop_per_byte: Any
    ridge_flop_per_byte: float
    device: str
    dtype: str

    @property
    def seconds(self) -> Any:
        """max(compute_s, memory_s)."""
        return _plain(np.maximum(self.compute_s, self.memory_s))

    @property
    def bound(self) -> Any:
        """What limits: "compute" or, where the bytes take longer, "memory"."""
        return _plain(np.where(np.less(self.compute_s, self.memory_s), "memory", "compute"))

    def _facts(self) -> dict[str, str]:
        seconds, intensity = np.atleast_1d(self.seconds), np.atleast_1d(self.intensity_flop_per_byte)
        bounds = np.atleast_1d(self.bound)
        both = [f"{(bounds == kind).sum()} {kind}" for kind in ("compute", "memory")]
        return {
            "device": f"{self.device}, {self.dtype}",
            "seconds": _span(seconds),
            "bound": str(bounds.flat[0]) if bounds.size == 1 else ", ".join(both),
            "intensity": f"{_span(intensity)} of {display.number(self.ridge_flop_per_byte)} FLOP/byte at the ridge",
        }

    def __repr__(self) -> str:
        return "Roofline(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Roofline", self._facts())


def roofline(
    flops: ArrayLike,
    bytes: ArrayLike,
    device: str | DeviceSpec,
    *,
    dtype: str = "bfloat16",
    flops_efficiency: float = 1.0,
    bandwidth_efficiency: float = 1.0,
) -> Roofline:
    """Seconds of work that does `flops` operations and moves `bytes`, which overlap perfectly.

    seconds = max(flops / (peak rate of dtype * flops_efficiency), bytes / (bandwidth * bandwidth_efficiency)), with the
    figures of the device's data sheet (`hardware.device`). `flops` and `bytes` are numbers or arrays that broadcast.

    Raises ValueError for negative or non-finite work, an efficiency outside (0, 1], a device that is not known and a
    dtype that it has no rate for. Source: Williams, Waterman and Patterson 2009, section 3.
    """
    operations, moved = _work("flops", flops), _work("bytes", bytes)
    for name, value in (("flops_efficiency", flops_efficiency), ("bandwidth_efficiency", bandwidth_efficiency)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise ValueError(f"{name}: {value!r}, must be above 0 and at most 1")
    try:
        np.broadcast_shapes(operations.shape, moved.shape)
    except ValueError:
        raise ValueError(f"bytes: shape {moved.shape}, must broadcast with that of flops, {operations.shape}") from None
    spec = device if isinstance(device, DeviceSpec) else find_device(device)
    rate = spec.peak_flop_per_s(dtype) * flops_efficiency
    bandwidth = spec.memory_bandwidth_bytes_per_s * bandwidth_efficiency
    with np.errstate(divide="ignore", invalid="ignore"):
        intensity = operations / moved
    return Roofline(
        compute_s=_plain(operations / rate),
        memory_s=_plain(moved / bandwidth),
        intensity_flop_per_byte=_plain(intensity),
        ridge_flop_per_byte=rate / bandwidth,
        device=spec.name,
        dtype=dtype,
    )


def _work(name: str, value: ArrayLike) -> np.ndarray:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r}, must be numbers") from None
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"{name}: {value!r}, must be finite and at least 0")
    return array


def _plain(value: Any) -> Any:
    """A Python number or text where there is only one."""
    return value.item() if np.ndim(value) == 0 else value


def _span(values: np.ndarray) -> str:
    if values.size == 0:
        return "none"
    low, high = display.number(values.min()), display.number(values.max())
    return low if low == high else f"{low} to {high}"
