"""Every published claim of the catalogue, held against what runs here: `pytest -k pararnn`.

A claim is a row of a TOML, not a test function. Each quick study runs once; its verdicts must be those that were
accepted and committed, in either direction, so that an honest negative stays green and a change is seen.
"""

import shutil
from pathlib import Path

import pytest

from workbench import expected, runner, store, studies
from workbench.scoreboard import scoreboard

EVIDENCE = Path(__file__).parents[2] / "store" / "evidence"

CLAIMS = {claim.id: claim for slug in studies.find() for claim in studies.claims(slug)[1]}
FULL = [id for id, claim in CLAIMS.items() if claim.tested and claim.preset == "full"]
TESTED = [id for id, claim in CLAIMS.items() if claim.tested and claim.preset == "quick"]


@pytest.fixture(scope="session")
def found(tmp_path_factory):
    """{claim id: row} of one run of all quick studies, in a store of their own."""
    path = tmp_path_factory.mktemp("reproduce") / "store"
    finished = runner.run(jobs=1, path=path)
    for job in finished:
        assert job.code == 0, f"{job.job.slug} crashed:\n{job.error}"
    return {f"{row['paper']}.{row['claim']}": row for row in runner.rows(finished, path).iter_rows(named=True)}


@pytest.mark.parametrize("id", TESTED)
def test_claim(id, found, record_property):
    row, claim = found[id], CLAIMS[id]
    record_property("verdict", row["verdict"])
    assert row["evidence"] == claim.evidence, "the study brought no outcome for this claim"
    assert row["negative_control_failed"], f"the negative control did not fail: {row['verdict_reason']}"
    if not claim.timing:
        accepted = expected.read(claim.paper).get(claim.key)
        assert accepted is not None, "nothing is accepted for this claim: workbench reproduce --accept"
        assert row["verdict"] == accepted["verdict"], row["verdict_reason"]


@pytest.mark.parametrize("slug", list(studies.find()))
def test_nothing_is_expected_of_a_claim_that_is_gone(slug):
    keys = {claim.key for claim in studies.claims(slug)[1] if claim.tested}
    assert set(expected.read(slug)) <= keys


@pytest.mark.parametrize("slug", list(studies.find()))
def test_the_quick_preset_keeps_its_time(slug, found):
    """A budget, not a benchmark: 45 s at most on two cores, and these tests share the machine with others."""
    seconds = max(row["seconds"] or 0 for row in found.values() if row["paper"] == slug)
    assert seconds < 90, f"{slug} took {seconds:.0f} s"


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """{claim id: row} of a store that holds the committed evidence alone: the full studies."""
    path = tmp_path_factory.mktemp("evidence") / "store"
    shutil.copytree(EVIDENCE, path / "evidence")
    store.sync(path)
    with store.open(path) as log:
        return {row["claim_id"]: row for row in scoreboard(log, list(studies.find())).iter_rows(named=True)}


@pytest.mark.parametrize("id", FULL)
def test_evidence_is_kept_for_a_claim_of_the_full_study(id, kept):
    """`workbench reproduce SLUG --preset full`, then `workbench store evidence RUN`, then commit the file."""
    row = kept[id]
    assert row["evidence"] == CLAIMS[id].evidence, "no committed run has tested this claim"
    assert not row["stale"], "the claim has changed since the committed run"
    assert row["negative_control_failed"], f"the negative control did not fail: {row['verdict_reason']}"
