"""Scaling laws: losses of runs, forms that explain them, one driver `fit`, and a law that says how sure it is."""

from workbench.scaling._descend import huber as huber
from workbench.scaling._estimate import Bootstrap as Bootstrap
from workbench.scaling._estimate import Estimate as Estimate
from workbench.scaling._estimate import Params as Params
from workbench.scaling._fit import fit as fit
from workbench.scaling._form import AbstractForm as AbstractForm
from workbench.scaling._form import CustomLaw as CustomLaw
from workbench.scaling._forms import FORMS as FORMS
from workbench.scaling._forms import ChinchillaLaw as ChinchillaLaw
from workbench.scaling._forms import InverseRootLaw as InverseRootLaw
from workbench.scaling._forms import ParScaleLaw as ParScaleLaw
from workbench.scaling._forms import PowerProductLaw as PowerProductLaw
from workbench.scaling._forms import TheoryLaw as TheoryLaw
from workbench.scaling._law import Law as Law
from workbench.scaling._law import Status as Status
from workbench.scaling._losses import Losses as Losses
from workbench.scaling._losses import published as published
from workbench.scaling._rank import foretell as foretell
from workbench.scaling._rank import rank as rank
