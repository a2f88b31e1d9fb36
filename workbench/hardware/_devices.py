"""Devices as their data sheets describe them: peak rates, memory, and the source of each figure."""

import dataclasses
import functools
import tomllib
from pathlib import Path

from workbench.hardware import _checks

_TABLE = Path(__file__).parent / "devices.toml"


@dataclasses.dataclass(frozen=True)
class DeviceSpec:
    """One accelerator: Python numbers with their units in the names, and where they come from.

    Rates are peaks, dense; None where the device has no rate for that dtype. `multiprocessors` is the number of units
    that run blocks of threads. `launch_overhead_s` is no data-sheet figure; `launch_source` says so.
    """

    name: str
    memory_bandwidth_bytes_per_s: float
    memory_bytes: float
    multiprocessors: int
    launch_overhead_s: float
    source: str
    launch_source: str
    float32_flop_per_s: float
    float64_flop_per_s: float | None = None
    tf32_flop_per_s: float | None = None
    bfloat16_flop_per_s: float | None = None
    float16_flop_per_s: float | None = None
    float8_flop_per_s: float | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{field.name}: {value!r}, must be greater than 0")

    def peak_flop_per_s(self, dtype: str = "float32") -> float:
        """The peak rate for `dtype` ("float32", "tf32", "bfloat16", …). Raises ValueError where there is none."""
        rates = {
            field.name.removesuffix("_flop_per_s"): getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name.endswith("_flop_per_s")
        }
        if rates.get(dtype) is None:
            known = sorted(name for name, rate in rates.items() if rate is not None)
            raise ValueError(f"dtype: {dtype!r}, must be one that {self.name} has a rate for: {', '.join(known)}")
        return rates[dtype]

    def ridge_flop_per_byte(self, dtype: str = "float32") -> float:
        """Peak rate over bandwidth: below this many operations a byte moved, memory is what limits (roofline)."""
        return self.peak_flop_per_s(dtype) / self.memory_bandwidth_bytes_per_s


@functools.cache
def devices() -> tuple[DeviceSpec, ...]:
    """All devices of the table, in its order."""
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    common = table["launch_source"]
    return tuple(
        DeviceSpec(**(row | {"aliases": tuple(row["aliases"]), "launch_source": common})) for row in table["device"]
    )


def device(name: str) -> DeviceSpec:
    """The device called `name` or one of its aliases, in any case. Raises ValueError that lists near matches."""
    return _checks.find({known.lower(): spec for spec in devices() for known in (spec.name, *spec.aliases)}, name)
