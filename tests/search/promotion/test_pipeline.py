"""A promotion from Python: silent, in a thread too, twice in one process, with a result to go on with."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from written_search import write_search

from fashion_core.errors import SearchError
from search.promotion import PromotionOptions, Workplace, promote
from search.promotion.pipeline import describe_call, renew_page, repeat
from search.records.layout import SearchLayout
from search.records.provenance import python_command
from search.records.record import load_record
from search.registry.versions import Registry
from search.tracking.resending import resend
from search.tracking.store import default_uri, open_store

OPTIONS = PromotionOptions(top=1, seeds=1, baseline="none", force=True)


def test_the_call_is_what_is_written_down(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    call = describe_call(layout, OPTIONS)
    assert call == ("search.promote('mine', PromotionOptions(top=1, seeds=1, baseline='none', force=True))",)
    assert describe_call(layout, PromotionOptions()) == ("search.promote('mine')",)
    assert repeat(call) == call[0]
    assert repeat(["search/promote.py", "a b"]).endswith(" search/promote.py 'a b'")


def test_a_search_that_is_not_there(tmp_path):
    with pytest.raises(SearchError, match="no search of the name 'mine'"):
        promote("mine", place=Workplace(results=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_page_of_the_search_tells_of_the_promotion(tmp_path, sample_folder):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [5e-3])
    layout.promotion_report.write_text("# Promotion\n")
    console = Console(file=io.StringIO(), width=200)
    parts = {"search": load_record(layout), "registry": Registry(default_uri(layout), "m"), "console": console}
    promotion = SimpleNamespace(layout=layout, wait=lambda make: make(), tracker=SimpleNamespace(error=None), **parts)
    renew_page(promotion)
    assert 'href="PROMOTION.md"' in layout.page.read_text() and console.file.getvalue() == ""
    resend(layout)
    layout.page.write_text("<p>as the search wrote it</p>")
    renew_page(promotion)
    client = open_store(default_uri(layout))
    (run,) = client.search_runs(["1"], "tags.kind = 'search'")
    for path in (layout.page, layout.promotion_report):  # MLflow has what stands there now
        sent = client.download_artifacts(run.info.run_id, path.name)
        assert Path(sent).read_bytes() == path.read_bytes(), path.name
    assert 'href="PROMOTION.md"' in layout.page.read_text() and console.file.getvalue() == ""


@pytest.mark.slow
def test_a_page_that_cannot_be_renewed_costs_a_promotion_nothing(tmp_path, sample_folder):
    layout = write_search(tmp_path / "results", "mine", sample_folder, [5e-3])
    console = Console(file=io.StringIO(), width=80)
    parts = {"search": load_record(layout), "console": console, "tracker": SimpleNamespace(error=None)}
    lost = Registry("sqlite:////dev/null/none.db", "m")
    promotion = SimpleNamespace(layout=layout, wait=lambda make: make(), registry=lost, **parts)
    renew_page(promotion)
    told, where = console.file.getvalue(), f"mine --results {layout.results}"
    assert layout.page.is_file() and told.startswith("MLflow must be a server or database that answers, but ")
    way = f"{python_command()} -m search resend {where} --tracking-uri {lost.uri}"
    assert told.rstrip().endswith(f"; send report.html there later with {way}")
    layout.page.unlink()
    layout.page.mkdir()  # where nothing can be written
    renew_page(promotion)
    told = console.file.getvalue().removeprefix(told)
    assert told.startswith("report.html does not tell of this promotion yet (")
    assert told.rstrip().endswith(f"-m search report {where}")


@pytest.mark.slow
@pytest.mark.long
def test_a_promotion_in_a_notebook_and_in_a_thread(tmp_path, sample_folder, capfd):
    results = tmp_path / "results"
    layout = write_search(results, "mine", sample_folder, [5e-3])
    place = Workplace(results=results, concurrent=1, cpus_per_trial=1)
    result = promote("mine", OPTIONS, place=place)
    assert capfd.readouterr() == ("", "")
    assert result.passed and result.forced and result.is_champion and result.version.number == 1
    assert f"{result.score.value:.4f}" in result.report.read_text()
    assert "`search.promote('mine', PromotionOptions(top=1," in result.report.read_text()
    assert json.loads(json.dumps(result.to_dict()))["version"] == 1
    photo = next((sample_folder / "img").rglob("*.jpg"))
    (answer,) = result.model().predict([photo])
    with ThreadPoolExecutor(1) as pool:  # goes on with what is there
        again = pool.submit(promote, layout, OPTIONS, place=place).result()
    assert again.version.number == 1 and again.score == result.score and again.is_champion
    (same,) = again.model(device="cpu").predict([photo])
    assert same.to_dict()["attributes"].keys() == answer.to_dict()["attributes"].keys()
    assert capfd.readouterr() == ("", "")
