"""What a promotion holds while it runs: its folder alone, and what a model may cost."""

from types import SimpleNamespace

import pytest
from written_search import write_search

from fashion_core.errors import SearchError
from search.promotion import running
from search.promotion.judgement import UNLIMITED, Cost
from search.promotion.options import PromotionOptions, Workplace
from search.promotion.running import Promotion, open_promotion
from search.records.locks import RUN, hold_search
from search.reporting.terminal import choose_console


@pytest.mark.slow
def test_a_search_that_runs_is_not_promoted(tmp_path, sample_folder):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [1e-3])
    given = (layout, PromotionOptions(), Workplace(), choose_console(None), ["search/promote.py"])
    refused = pytest.raises(SearchError, match=r"runs it since .*; wait for it")
    with hold_search(layout, RUN), refused, open_promotion(*given, replace=False):
        pass
    assert not layout.promotion_folder.exists()


@pytest.mark.slow
def test_the_champion_is_looked_at_before_any_image(tmp_path, sample_folder, monkeypatch):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [1e-3])
    asked = []

    def refuse(registry, key, schema):
        asked.append((registry.model, schema.names))
        raise SearchError("other categories")

    monkeypatch.setattr(running, "check_champion", refuse)
    monkeypatch.setattr(running, "prepare_material", lambda *_: pytest.fail("images were prepared"))
    for place in (Workplace(), Workplace(model="named")):
        given = (layout, PromotionOptions(), place, choose_console(None), ["search/promote.py"])
        with pytest.raises(SearchError, match="other categories"), open_promotion(*given, replace=False):
            pass
    assert [model for model, _ in asked] == [sample_folder.name, "named"] and "sleeve" in asked[0][1]


def test_the_limit_is_what_was_asked_for():
    def find_limit(**options):
        names = ("layout", "search", "material", "resources", "tracker", "registry", "tries", "attempt", "console")
        rest = dict.fromkeys(names)
        plan = SimpleNamespace(promotion_id="id")
        return Promotion(options=PromotionOptions(**options), plan=plan, command=(), started=0.0, **rest).limit

    assert find_limit() == UNLIMITED
    assert find_limit(max_ms=3) == Cost(UNLIMITED.parameters, 3)
    assert find_limit(max_params=5e6) == Cost(5_000_000, float("inf"))
