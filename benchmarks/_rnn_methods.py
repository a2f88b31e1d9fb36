"""What is measured: shapes, settings, and our methods as data. A new solver joins by one entry of `SOLVERS`."""

import dataclasses
from collections.abc import Callable
from typing import Any

FUSED = "--xla_cpu_prefer_vector_width=512 --xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000"
"""What `rnn.xla_flags` gives; written out, because this process does not import jax."""
LOOP_AT = 512
"""Steps at which Python loops are measured: the length of the paper's headline figure."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A problem: `time` steps of `batch` sequences, `dim` channels of input and state."""

    time: int
    batch: int
    dim: int
    cell: str = "ParaGRU"

    @property
    def label(self) -> str:
        """Like 16k,1,16."""
        steps = f"{self.time // 1024}k" if self.time >= 1024 else str(self.time)
        return f"{steps},{self.batch},{self.dim}"


GRID = tuple(
    Case(steps * 1024, batch, dim)
    for steps, batch, dim in (
        (1, 1, 16),
        (16, 1, 1),
        (16, 1, 16),
        (128, 1, 1),
        (128, 1, 16),
        (1, 8, 16),
        (4, 8, 16),
        (16, 8, 16),
        (1, 8, 256),
    )
)
LOOPS = tuple(Case(LOOP_AT, 1, dim, cell) for cell in ("ParaGRU", "ParaLSTM") for dim in (16, 64))


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a process runs: its cores, XLA's flags, and which families of methods it measures."""

    cores: int
    flags: str
    families: tuple[str, ...]


SETTINGS = {
    "one thread": Setting(1, "", ("ours", "torch", "jax peers")),
    "one thread, loops fused": Setting(1, FUSED, ("ours", "jax peers")),
    "two threads": Setting(2, "", ("ours", "torch", "jax peers")),
    "two devices": Setting(2, "--xla_force_host_platform_device_count=2", ("sharded",)),
}

LAX_SCAN, NEWTON3 = "lax.scan", "Newton K=3"
LOOP, SLICED, TORCH_LOOP = "Python loop, jitted step", "Python loop, jitted step, inputs sliced before", "torch loop"
AUTO = "Auto"
PARARNN, PARARNN_LOOP = "pararnn-torch, Newton K=3", "pararnn-torch, sequential"


Tries = Callable[[Any, int], list[tuple[Any, Any]]]
"""(workbench.rnn, steps) -> settings of one method, (solver, scan or None) each; the fastest counts."""


def _newton(scan: str, **options: int) -> Tries:
    return lambda rnn, time: [(rnn.Newton(**options), getattr(rnn, scan)())]


def _chunks(time: int) -> list[int]:
    return [chunks for chunks in (16, 64, 256) if chunks <= time // 16]


SOLVERS: dict[str, Tries] = {
    "Sequential, implicit adjoint": lambda rnn, time: [(rnn.Sequential(), None)],
    **{f"{NEWTON3}, {scan}": _newton(scan, steps=3) for scan in ("Serial", "TwoLevel", "Associative")},
    **{f"Newton, {scan}": _newton(scan) for scan in ("Serial", "TwoLevel", "Associative")},
    "MultipleShooting": lambda rnn, time: [(rnn.MultipleShooting(chunks=c), None) for c in _chunks(time)],
    "WarmStart": lambda rnn, time: [(rnn.WarmStart(chunks=c), None) for c in _chunks(time)],
    "Elk": lambda rnn, time: [(rnn.Elk(), None)],
    AUTO: lambda rnn, time: [(rnn.Auto(), None)],
}
"""Jacobi and Picard need up to as many iterations as there are steps, and QuasiNewton is Newton on these cells, whose
Jacobians are diagonal: nothing to learn from their times here. FusedNewton needs a GPU."""

SHARDED = {
    "ShardedWarmStart": (LAX_SCAN, lambda rnn, mesh: rnn.ShardedWarmStart(mesh, "time")),
    f"{NEWTON3}, Sharded": (f"{NEWTON3}, TwoLevel", lambda rnn, mesh: rnn.Newton(steps=3)),
}
"""Time over two devices: what each is held against on one thread, and its solver. From `SHARD_FROM` steps on."""
SHARD_FROM = 16 * 1024

FAMILIES: dict[str, tuple[str, ...]] = {
    "ours": (LAX_SCAN, LOOP, SLICED, *SOLVERS),
    "torch": (TORCH_LOOP, PARARNN, PARARNN_LOOP, "torch.nn.GRU"),
    "jax peers": ("DEER seq1d", "elk, quasi, 4 iterations"),
    "sharded": tuple(SHARDED),
}

NOT_HERE = {
    "accelerated-scan": "needs an NVIDIA GPU: its scans are CUDA and Triton kernels",
    "flashrnn": "needs an NVIDIA GPU: fused sequential CUDA and Triton kernels",
    "apple/ml-pararnn": "needs CUDA even to be imported; its licence is Apple's own",
}
"""Peers that no CPU can run, and why."""


def wanted(setting: str, family: str, case: Case, quick: bool = False) -> tuple[str, ...]:
    """The methods of a family that a case is measured with. Quick: one thread, but for the chain at `LOOP_AT` steps."""
    names = FAMILIES[family]
    if case.time == LOOP_AT:
        loops = (LOOP, SLICED, LAX_SCAN, TORCH_LOOP, PARARNN, PARARNN_LOOP)
        names = tuple(n for n in names if n in loops or (family == "ours" and n.startswith(NEWTON3)))
        return names if setting in ("one thread", "one thread, loops fused") else ()
    if (quick and setting != "one thread") or (family == "sharded" and case.time < SHARD_FROM):
        return ()
    slow = "Associative" if quick else "no such name"  # to compile
    return tuple(name for name in names if name not in (LOOP, SLICED, TORCH_LOOP) and slow not in name)
