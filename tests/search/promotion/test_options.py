"""What a person asks of a promotion."""

import pytest
from pydantic import ValidationError

from search.promotion.options import PromotionOptions


def test_its_key_names_what_decides_the_model():
    plain = PromotionOptions()
    keys = {
        options.build_key("id")
        for options in (plain, PromotionOptions(fit_on="train+val"), PromotionOptions(max_ms=3), plain)
    }
    assert len(keys) == 3 and plain.build_key("id") != plain.build_key("other")
    assert PromotionOptions(force=True).build_key("id") == plain.build_key("id")


def test_dropping_changes_the_key_and_its_absence_does_not():
    """A promotion that was begun before there was such a thing goes on under its key."""
    assert "drop_error" not in PromotionOptions().build_key("id")
    assert "drop_error=0.05" in PromotionOptions(drop_error=0.05).build_key("id")
    with pytest.raises(ValidationError, match=r"must go with --seeds 3 or more.*but got --seeds 2"):
        PromotionOptions(drop_error=0.05, seeds=2)


def test_what_is_impossible_is_refused():
    for wrong in (
        {"forms": "soup"},
        {"forms": "single,stew"},
        {"forms": ""},
        {"top": 0},
        {"seeds": 0},
        {"fit_on": "val"},
        {"max_ms": 0},
        {"tops": 1},
        {"drop_error": 0},
        {"drop_error": 1},
        {"drop_error": 0.05, "seeds": 2},
    ):
        with pytest.raises(ValidationError):
            PromotionOptions(**wrong)
    assert PromotionOptions(forms="soup, single").forms == "single,soup" and not PromotionOptions().has_soup
    best = PromotionOptions(forms="best")
    assert best.forms == "single,ensemble,best" and best.takes_best and not PromotionOptions().takes_best
    assert PromotionOptions(fit_on="train+val").is_recipe and not PromotionOptions().is_recipe
