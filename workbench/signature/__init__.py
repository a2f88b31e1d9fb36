"""The signature plot: one row a claim, the published figure as a dashed tick, ours as a marker with its interval.

    x = ours ÷ published (log axis)     pale band = what the tolerance allows     marker shape = evidence

A claim without a ratio (an ordering, an identity whose published value is 0, a claim that cannot be tested here) has no
place on this axis; `remainder` says in words what is left out.
"""

from workbench.signature._bokeh import signature as signature
from workbench.signature._marks import Mark as Mark
from workbench.signature._marks import marks as marks
from workbench.signature._marks import remainder as remainder
from workbench.signature._marks import short as short
from workbench.signature._svg import signature_svg as signature_svg
