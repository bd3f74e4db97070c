"""Who was champion when, as the registry tells: promoted, rolled back, set by hand, and of an earlier version."""

import json
import time

import pytest
from mlflow.tracking import MlflowClient
from registered_models import draw_versions

from fashion_core.errors import SearchError
from search.commands import app
from search.registry.champions import Term, list_champions
from search.registry.versions import CHAMPION, CHAMPION_TAG, Version

TAGS = {"search": "demo", "score": "0.8527", "score_interval": "0.8388 0.8665", "gate": "passed", "forced": "false"}
EVIDENCE = {**TAGS, "judged_against": "the champion, version 1", "try": "2"}


def call(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        app.main(arguments)
    assert stopped.value.code == 0


def tell(terms: list[Term]) -> list[tuple[int, str]]:
    return [(each.number, each.how) for each in terms]


def test_each_change_is_told_with_its_time_once(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    registry, (one, two, three) = draw_versions(store, "told", 3)
    before = time.time()
    registry.promote(one, None, {"forced": "true", "gate": "refused", "search": "first"})
    registry.promote(two, one, EVIDENCE)
    registry.promote(two, one, EVIDENCE)  # given again
    registry.rollback()
    registry.promote(two, one, {})
    _, terms = list_champions("told", tracking_uri=store)
    assert tell(terms) == [(1, "promoted"), (2, "promoted"), (1, "rolled back"), (2, "promoted")]
    times = [each.since for each in terms]
    assert sorted(times) == times and before <= times[0] and times[-1] <= time.time()
    assert [each.until for each in terms] == [*times[1:], None]
    assert [each.is_champion for each in terms] == [False, False, False, True]
    assert terms[0].verdict == "refused; promoted by force" and terms[2].verdict == "rolled back to it"
    assert terms[1].verdict == "passed against the champion, version 1, try 2"
    assert terms[1].score == "0.8527 [0.8388, 0.8665]" and terms[0].score == ""

    MlflowClient(store).set_registered_model_alias("told", CHAMPION, "3")  # in MLflow's own pages
    _, terms = list_champions("first", tracking_uri=store)  # the search's name
    assert tell(terms)[-1] == (3, "set by hand") and terms[-1].since is None and terms[-1].is_champion
    registry.promote(three, two, {})  # what is champion already is written down
    assert tell(list_champions("told", tracking_uri=store)[1])[-1] == (3, "promoted")

    MlflowClient(store).delete_model_version("told", "1")
    call("champions", "told", "--tracking-uri", store, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "told" and [each["version"] for each in found["champions"]] == [1, 2, 1, 2, 3]
    assert found["champions"][1]["tags"]["gate"] == "passed" and found["champions"][0]["tags"] == {}
    call("champions", "told", "--tracking-uri", store)
    assert "1 deleted" in (out := capsys.readouterr().out) and "3 now" in out


def test_what_an_earlier_version_promoted_is_told_by_its_tags(store: str) -> None:
    registry, versions = draw_versions(store, "before", 3)
    client = MlflowClient(store)
    registry.promote(versions[0], None, {})
    registry.promote(versions[1], versions[0], {})
    for name in client.get_registered_model("before").tags:  # as before this was written down
        if name.startswith(CHAMPION_TAG):
            client.delete_registered_model_tag("before", name)
    _, terms = list_champions("before", tracking_uri=store)
    assert tell(terms) == [(1, "promoted"), (2, "promoted")] and not any(each.is_exact for each in terms)
    assert terms[1].since == pytest.approx(registry.find(2).created) and terms[1].is_champion
    registry.promote(versions[2], versions[1], {})
    client.set_registered_model_tag("before", f"{CHAMPION_TAG}note", "somebody's own")
    _, terms = list_champions("before", tracking_uri=store)
    assert tell(terms) == [(number, "promoted") for number in (1, 2, 3)] and terms[-1].is_exact


def test_what_is_no_champion_is_told_with_those_that_are(store: str, tmp_path) -> None:
    registry, (one,) = draw_versions(store, "known", 1)
    registry.promote(one, None, {})
    with pytest.raises(SearchError, match=r"but stranger is neither in .*models there are .*known"):
        list_champions("stranger", tracking_uri=store)
    with pytest.raises(SearchError, match="has none; promote a search"):
        list_champions(results=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_interval_of_a_score_ends_at_one() -> None:
    tags = {"score": "0.9900", "score_interval": "0.9700 1.0100"}
    assert Term(1, Version("m", 1, "", tags), None, None, "").score == "0.9900 [0.9700, 1.0000]"
    assert Term(1, Version("m", 1, "", tags | {"score_interval": "a b"}), None, None, "").score == "0.9900"
