"""Hardware: what devices can do (data sheets), what models ask of them, and what is measured and counted here.

    device("A100-80GB") → DeviceSpec      model("llama-3-8b") → ModelSpec      roofline(flops, bytes, device) → Roofline
    calibrate() → Calibration             counts(fn, *args) → Counts

Loaded on use: the specifications and the cache folder need neither jax nor numpy.
"""

from typing import TYPE_CHECKING, Any

from workbench.hardware._cache import Kept as Kept
from workbench.hardware._cache import cache_folder as cache_folder
from workbench.hardware._cache import compilation_cache as compilation_cache
from workbench.hardware._cache import keep as keep
from workbench.hardware._cache import recall as recall
from workbench.hardware._devices import DeviceSpec as DeviceSpec
from workbench.hardware._devices import device as device
from workbench.hardware._devices import devices as devices
from workbench.hardware._feed_forward import FeedForward as FeedForward
from workbench.hardware._feed_forward import MixtureOfExperts as MixtureOfExperts
from workbench.hardware._mixers import Attention as Attention
from workbench.hardware._mixers import LatentAttention as LatentAttention
from workbench.hardware._mixers import LinearAttention as LinearAttention
from workbench.hardware._mixers import StateSpace as StateSpace
from workbench.hardware._models import model as model
from workbench.hardware._models import models as models
from workbench.hardware._spec import ModelSpec as ModelSpec

if TYPE_CHECKING:
    from workbench.hardware._calibrate import Calibration as Calibration
    from workbench.hardware._calibrate import Machine as Machine
    from workbench.hardware._calibrate import calibrate as calibrate
    from workbench.hardware._calibrate import interleaved_seconds as interleaved_seconds
    from workbench.hardware._calibrate import now as now
    from workbench.hardware._calibrate import this_machine as this_machine
    from workbench.hardware._counts import Collective as Collective
    from workbench.hardware._counts import Counts as Counts
    from workbench.hardware._counts import counts as counts
    from workbench.hardware._roofline import Roofline as Roofline
    from workbench.hardware._roofline import roofline as roofline

_ON_USE = {
    "_calibrate": ("Calibration", "Machine", "calibrate", "interleaved_seconds", "now", "this_machine"),
    "_counts": ("Collective", "Counts", "counts"),
    "_roofline": ("Roofline", "roofline"),
}


def __getattr__(name: str) -> Any:
    """The names that need jax or numpy, imported when they are asked for."""
    import importlib

    for module, names in _ON_USE.items():
        if name in names:
            return getattr(importlib.import_module(f"workbench.hardware.{module}"), name)
    raise AttributeError(f"module 'workbench.hardware' has no attribute {name!r}")
