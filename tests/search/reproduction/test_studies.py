"""The studies: their claims are sums that can be judged, and their numbers are those of the report."""

import pytest

from search.reporting.published import BACKBONES, DEPTHS, EXCHANGED, LOGS, PLACES, PRINTED, read_table
from search.reproduction.options import STUDIES
from search.reproduction.protocol import load_protocol
from search.reproduction.studies import Claim, SizeClaim, build_studies

PROTOCOL = load_protocol("report_lite")
FOUND = build_studies(0)
CLAIMS = [(study, claim) for study in FOUND.values() for claim in study.claims]


def test_all_studies_are_there() -> None:
    assert tuple(FOUND) == STUDIES
    keys = {PROTOCOL.build_key(arm) for study in FOUND.values() for arm in study.arms.values()}
    assert len(keys) == 9 + 5  # Table 2, and one more for each of flip, focal, weights, box and feature
    assert {arm.place for arm in build_studies(2)["flip"].arms.values()} == {2}


@pytest.mark.parametrize(("study", "claim"), CLAIMS, ids=[claim.text for _, claim in CLAIMS])
def test_a_claim_is_of_its_studys_arms(study, claim) -> None:
    arms = {PROTOCOL.build_key(arm) for arm in study.arms.values()}
    if isinstance(claim, SizeClaim):
        assert PROTOCOL.build_key(claim.arm) in arms and 0 < claim.margin < claim.published
        return
    assert {PROTOCOL.build_key(arm) for arm, _ in claim.contrast} <= arms
    assert sum(factor for _, factor in claim.contrast) == pytest.approx(0)
    assert sum(abs(factor) for _, factor in claim.contrast) == pytest.approx(2)
    assert claim.published is None or claim.published > 0  # a claim is what the report's numbers say


def read_arm(arm, reading: str) -> float:
    return read_table(reading)[arm.changes["fc_layers"]][arm.place]


@pytest.mark.parametrize("name", ["table2", "depth", "backbones", "se"])
def test_what_was_published_is_the_claims_sum_over_table_2(name: str) -> None:
    for claim in FOUND[name].claims:
        assert isinstance(claim, Claim)
        sums = {
            reading: sum(factor * read_arm(arm, reading) for arm, factor in claim.contrast)
            for reading in (PRINTED, EXCHANGED)
        }
        reading = EXCHANGED if EXCHANGED in claim.source else PRINTED
        assert claim.published == pytest.approx(sums[reading])
        if name == "depth":  # the same in both readings
            assert sums[PRINTED] == pytest.approx(sums[EXCHANGED])


def test_claims_of_backbones_are_marked() -> None:
    for study, claim in CLAIMS:
        of_backbones = isinstance(claim, Claim) and claim.of_backbones
        assert of_backbones == (study.name in ("table2", "backbones", "se"))
        assert of_backbones == (any(name in claim.text for name in BACKBONES))


def test_the_logs_agree_with_the_claims_on_fc_layers() -> None:
    means = {depth: sum(LOGS[depth]) / len(PLACES) for depth in DEPTHS}
    assert means[0] > means[2] > means[4]
