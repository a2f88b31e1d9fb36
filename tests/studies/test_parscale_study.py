"""The study of ParScale: every tested claim gets an answer, and each broken twin differs."""

from pathlib import Path

import pytest

from workbench import study
from workbench.studies import parscale

TOML = Path(parscale.__file__).with_suffix(".toml")


class Log:
    """What a study logs to, forgotten."""

    def log(self, **metrics):
        assert metrics

    def progress(self, done, total, told):
        assert 0 < done <= total


@pytest.fixture(scope="module")
def outcomes():
    return parscale.run(parscale.Config(starts=40), Log())


def test_a_run_answers_every_tested_claim_and_no_other(outcomes):
    _, claims = study.load_claims(TOML)
    assert set(outcomes) == {claim.key for claim in claims if claim.tested and claim.preset == "quick"}


def test_every_control_fails_its_check(outcomes):
    _, claims = study.load_claims(TOML)
    for claim in claims:
        if claim.tested and claim.preset == "quick":
            judged = study.verdict(claim, outcomes[claim.key])
            assert judged.negative_control_failed, claim.key


def test_a_law_that_ignores_streams_is_not_supported(outcomes):
    """The study can come out negative: with the losses of the other corpus no constant is the published one."""
    _, claims = study.load_claims(TOML)
    for claim in claims:
        if claim.key.startswith(("law.stack", "loss.")) and "needs-p" not in claim.key:
            twin = outcomes[claim.key]
            swapped = study.Outcome(
                value=None if twin.value is None else twin.control,
                modelled=None if twin.modelled is None else twin.control,
                control=twin.value if twin.value is not None else twin.modelled,
            )
            assert study.verdict(claim, swapped).verdict not in ("reproduced", "modelled", "supported")
