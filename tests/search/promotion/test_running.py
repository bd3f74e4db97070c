"""What a promotion holds while it runs: its folder alone, and what a model may cost."""

from types import SimpleNamespace

import pytest

from fashion_core.errors import SearchError
from search.promotion.judgement import UNLIMITED, Cost
from search.promotion.options import PromotionOptions
from search.promotion.running import Promotion, hold_folder
from search.records.layout import SearchLayout


def test_one_process_promotes_a_search(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    with hold_folder(layout), pytest.raises(SearchError, match="another promotes mine"), hold_folder(layout):
        pass
    with hold_folder(layout):
        pass


def test_the_limit_is_what_was_asked_for():
    def find_limit(**options):
        rest = dict.fromkeys(("layout", "search", "material", "resources", "tracker", "registry", "console"))
        plan = SimpleNamespace(promotion_id="id")
        return Promotion(options=PromotionOptions(**options), plan=plan, command=(), started=0.0, **rest).limit

    assert find_limit() == UNLIMITED
    assert find_limit(max_ms=3) == Cost(UNLIMITED.parameters, 3)
    assert find_limit(max_params=5e6) == Cost(5_000_000, float("inf"))
