"""The time axis over devices: an affine scan, and a rollout, of which every device holds one stretch of time."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from workbench.rnn._jacobian import AbstractJacobian
from workbench.rnn._scan import AbstractScan, Serial, TwoLevel, affine, delay, total
from workbench.rnn._solver import Iterate, IterativeSolver, check_integer
from workbench.rnn._system import System


@dataclasses.dataclass(frozen=True)
class Sharded(AbstractScan):
    """Time over the devices of one axis of a mesh; `local` is the backend inside a device.

    Device p reduces its stretch to one affine map (A_p, b_p); the P maps are gathered, one collective; every device
    composes those before it to the state that enters, and scans its stretch from there. Communication is P pairs,
    whatever T. Any T: the last stretch is padded with zeros, which change nothing before them.

    Raises ValueError for an axis that the mesh does not have, or a `local` that is no backend or is itself sharded.
    """

    mesh: Mesh
    axis: str
    local: AbstractScan = dataclasses.field(default_factory=TwoLevel)

    def __post_init__(self) -> None:
        _check_mesh(self.mesh, self.axis)
        if not isinstance(self.local, AbstractScan) or isinstance(self.local, Sharded):
            message = f"local: {self.local!r}, must be a scan backend for one device such as TwoLevel()"
            raise ValueError(message)  # noqa: TRY004 (the house raises ValueError)

    def run(self, J: AbstractJacobian, b: Any, reverse: bool) -> Any:
        length = jax.tree.leaves(b)[0].shape[0]
        padded = jax.tree.map(lambda a: _padded(a, self.mesh.shape[self.axis]), (J, b))

        def stretch(J: AbstractJacobian, b: Any) -> Any:
            enters = self._enters(total(J, b, reverse), reverse)
            edge = -1 if reverse else 0
            first = affine(J[edge], jax.tree.map(lambda a: a[edge], b), enters)
            return self.local.run(J, jax.tree.map(lambda a, a_t: a.at[edge].set(a_t), b, first), reverse)

        out = _over_time(stretch, self.mesh, self.axis)(*padded)
        return jax.tree.map(lambda a: a[:length], out)

    def _enters(self, pair: tuple, reverse: bool) -> Any:
        """The state at the border of this device's stretch, from the maps of all."""
        flat, unravel = ravel_pytree(pair)  # one array, so that there is one collective
        pairs = jax.vmap(unravel)(lax.all_gather(flat, self.axis))
        ends = Serial().run(*pairs, reverse)
        return jax.tree.map(lambda a: delay(a, 1, reverse)[lax.axis_index(self.axis)], ends)


@dataclasses.dataclass(frozen=True)
class ShardedWarmStart(IterativeSolver):
    """The true cell rolled out on every device of a mesh axis at once, each over its own stretch of time.

    Iteration 0: each device starts `overlap` steps early from zeros, on inputs that its neighbour sends, and forgets
    that on the way. The mismatch at the borders is its certificate: below rounding where the products of `overlap`
    Jacobians are. Where it is above the tolerance, an iteration takes the neighbour's end as the start and rolls out
    again, so that after k iterations k + 1 stretches are exact, whatever the mismatch does until then. `steps` and
    `patience` as for `Newton`, but that nothing is given up by default.

    Give `scan=Sharded(mesh, axis)` with it, so that derivatives are sharded too. An overlap longer than a stretch is
    cut to it. Raises ValueError for an axis that the mesh does not have, overlap < 0, and as `Newton` does.
    """

    mesh: Mesh
    axis: str
    overlap: int = 64
    steps: int | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_mesh(self.mesh, self.axis)
        check_integer("overlap", self.overlap, 0)

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        def early(system: System, inputs: Any) -> Array:
            length = jax.tree.leaves(inputs)[0].shape[0]
            overlap = min(self.overlap, length)
            sent = jax.tree.map(lambda a: self._from_before(a[length - overlap :]), inputs)
            # The second device may come by an overlap that begins at time 0.
            whole = (overlap == length) & (lax.axis_index(self.axis) == 1)
            start = System(system.cell, system.params, sent, jnp.where(whole, system.initial, 0))
            return start.rollout()[-1] if overlap else start.initial

        return self._roll(system, early, ())

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        _, ends = iterate.carry
        return self._roll(system, lambda system, inputs, ends: self._from_before(ends[0]), (ends,))

    def _roll(self, system: System, start: Any, extra: tuple) -> Iterate:
        """Roll every stretch out from where `start` says; the first from h_0."""
        time = jax.tree.leaves(system.inputs)[0].shape[0]
        inputs = jax.tree.map(lambda a: _padded(a, self.mesh.shape[self.axis], edge=True), system.inputs)

        def stretch(inputs: Any, params: Any, initial: Array, *extra: Array) -> tuple[Array, Array, Array]:
            here = System(system.cell, params, inputs, initial)
            first = lax.axis_index(self.axis) == 0
            begin = jnp.where(first, initial, start(here, inputs, *extra))
            states = System(system.cell, params, inputs, begin).rollout()
            mismatch = jnp.where(first, 0, self._from_before(states[-1]) - begin)
            return states, mismatch[None], states[-1:]

        specs = (PartitionSpec(self.axis), PartitionSpec(), PartitionSpec(), *[PartitionSpec(self.axis)] * len(extra))
        run = _over_time(stretch, self.mesh, self.axis, specs)
        states, mismatch, ends = run(inputs, system.params, system.initial, *extra)
        return Iterate(states[:time], system.norm(mismatch), (mismatch, ends))

    def _from_before(self, a: Array) -> Array:
        """What the device before this one holds; zeros on the first."""
        devices = self.mesh.shape[self.axis]
        return lax.ppermute(a, self.axis, [(p, p + 1) for p in range(devices - 1)])


def _over_time(f: Any, mesh: Mesh, axis: str, in_specs: Any = None) -> Any:
    """`f` on every device's stretch of the leading axis."""
    spec = PartitionSpec(axis)
    # Nothing here is differentiated or replicated, which is what the check of varying axes is for.
    return jax.shard_map(f, mesh=mesh, in_specs=in_specs or spec, out_specs=spec, check_vma=False)


def _padded(a: Array, devices: int, edge: bool = False) -> Array:
    """As many steps on every device: padded at the end with zeros, or with the last step."""
    missing = -a.shape[0] % devices
    return jnp.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1), mode="edge" if edge else "constant")


def _check_mesh(mesh: Any, axis: Any) -> None:
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh: {type(mesh).__name__}, must be a jax.sharding.Mesh")  # noqa: TRY004
    if axis not in mesh.axis_names:
        raise ValueError(f"axis: {axis!r}, must be one of the axes of the mesh, {mesh.axis_names}")
