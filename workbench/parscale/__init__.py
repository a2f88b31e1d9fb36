"""ParScale (arXiv 2505.10475): one language model as P parallel streams behind learned prefixes, merged."""

from workbench.parscale._cost import LENGTHS as LENGTHS
from workbench.parscale._cost import Cost as Cost
from workbench.parscale._cost import EqualLoss as EqualLoss
from workbench.parscale._cost import cost as cost
from workbench.parscale._cost import crossover_batch as crossover_batch
from workbench.parscale._cost import equal_loss_ratio as equal_loss_ratio
from workbench.parscale._residuals import Residuals as Residuals
from workbench.parscale._residuals import residuals as residuals
from workbench.parscale._sizes import SIZES as SIZES
from workbench.parscale._sizes import parameters as parameters
from workbench.parscale._sizes import parscale_spec as parscale_spec
from workbench.parscale._streams import Streams as Streams
from workbench.parscale._train import Stages as Stages
from workbench.parscale._train import train as train
from workbench.parscale._wrap import load as load
from workbench.parscale._wrap import prefixed as prefixed
from workbench.parscale._wrap import save as save
from workbench.parscale._wrap import wrap as wrap
