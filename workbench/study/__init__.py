"""The contract of a study: a paper, its claims as data, and the one pure function that judges them.

    published figure (TOML)  +  outcome of a run  →  verdict(claim, outcome)  →  a row of the scoreboard

A study is two files: `<slug>.toml` holds the `Paper` and its `Claim`s, written before any run; `<slug>.py` holds
presets and `run(config, log)`, which returns one `Outcome` for each claim key that it tests.
"""

from workbench.study._checks import KINDS as KINDS
from workbench.study._checks import Check as Check
from workbench.study._checks import Tolerance as Tolerance
from workbench.study._checks import mean_interval as mean_interval
from workbench.study._claim import Claim as Claim
from workbench.study._claim import Paper as Paper
from workbench.study._load import ClaimError as ClaimError
from workbench.study._load import Needs as Needs
from workbench.study._load import Study as Study
from workbench.study._load import load as load
from workbench.study._load import load_claims as load_claims
from workbench.study._load import load_needs as load_needs
from workbench.study._load import slugify as slugify
from workbench.study._row import result_row as result_row
from workbench.study._verdict import Judgement as Judgement
from workbench.study._verdict import Outcome as Outcome
from workbench.study._verdict import verdict as verdict
