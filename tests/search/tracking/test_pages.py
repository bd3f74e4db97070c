"""MLflow's pages as a person sees them, in Debian's Chromium with a fresh profile: of the version that is installed."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest
from browser import Browser, open_browser
from free_port import find_port

from fashion_core.errors import SearchError
from fashion_core.files import MODEL_FILE
from search.records.events import EpochEnded, SearchEnded, SearchStarted, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger
from search.tracking.pages import HOST, check_port, list_pages, serve_pages
from search.tracking.resending import resend
from search.tracking.store import default_uri, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPACE = """
trials: 4
fixed: {backbone: test_resnet, image_size: 64}
search: {lr: {loguniform: [1e-5, 1e-1]}, dropout: {uniform: [0, 0.5]}}
scheduler: {type: none, max_epochs: 2}
"""
CATEGORIES = {"sleeve": ["short", "long"], "neck": ["v", "round"]}
SCORES = {0: 0.5, 1: 0.75, 2: 0.625, 3: 0.25}  # by trial
KEPT = (1, 2)  # trials whose models are kept
STATUSES = {0: "stopped", 1: "finished", 2: "interrupted", 3: "failed"}


class Served(NamedTuple):
    """A search in MLflow, and where its pages are."""

    layout: SearchLayout
    address: str


def write(layout: SearchLayout) -> None:
    """A trial of several ends, two epochs each."""
    with Ledger(layout.ledger) as ledger:
        data = {"folder": "drawn", "fingerprint": "aa11", "categories": CATEGORIES}
        settings = {"trials": 4, "max_epochs": 2}
        ledger.append(SearchStarted(name=layout.name, settings=settings, space=SPACE, space_name="tiny", data=data))
        for number, best in SCORES.items():
            params = {"lr": 10.0 ** (-4 + number), "dropout": number / 10}
            ledger.append(TrialStarted(trial=number, trial_id=str(number), params=params, enqueued=False))
            for epoch, score in ((1, best / 2), (2, best)):
                metrics = {"val/accuracy": score, "train/loss": 1 - score}
                metrics |= {f"val/accuracy/{name}": score for name in CATEGORIES}
                ledger.append(EpochEnded(trial=number, epoch=epoch, metrics=metrics))
            if number in KEPT:
                layout.checkpoint_folder(number).mkdir(parents=True)
                (layout.checkpoint_folder(number) / MODEL_FILE).write_text("a model")
            status = STATUSES[number]
            ended = {"reason": f"why {status}", "best": best, "best_epoch": 2}
            ledger.append(TrialEnded(trial=number, status=status, checkpoint=None, **ended))
        ledger.append(SearchEnded(reason="time budget", seconds=1.0))


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> SearchLayout:
    layout = SearchLayout(tmp_path_factory.mktemp("results"), "mine")
    shutil.copy(empty_database, layout.tracking_db)
    write(layout)
    resend(layout)
    return layout


@pytest.fixture(scope="module")
def served(sent: SearchLayout) -> Iterator[Served]:
    port = find_port()
    with serve_pages(default_uri(sent), port):
        yield Served(sent, f"http://{HOST}:{port}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def test_a_page_stands_for_every_space_and_for_a_search(sent: SearchLayout) -> None:
    (of_all,) = list_pages(default_uri(sent))
    assert of_all.title == "tiny" and of_all.path.endswith("=leaderboard&workflowType=machine_learning")
    (of_one,) = list_pages(default_uri(sent), "mine", "tiny")
    assert of_one.is_prepared and "viewStateShareKey=leaderboard.mine&" in of_one.path
    (older,) = list_pages(default_uri(sent), "older", "tiny")
    assert not older.is_prepared
    with pytest.raises(SearchError, match="MLflow must have the runs of mine, but has none"):
        list_pages(default_uri(sent), "mine", "elsewhere")


def test_runs_have_what_mlflows_own_clients_log(sent: SearchLayout) -> None:
    client = open_store(default_uri(sent))
    experiment = client.get_experiment_by_name("tiny")
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "best/val_accuracy"
    assert experiment.tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "true"
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "mine": "FINISHED",
        **{f"trial-{number:04d}": "FAILED" if number == 3 else "FINISHED" for number in SCORES},
    }
    for run in runs.values():
        assert run.data.tags["mlflow.user"] and run.data.tags["mlflow.source.name"]
        found = {each.tags[0].value: (each.dataset.name, each.dataset.digest) for each in run.inputs.dataset_inputs}
        assert found == {"train": ("drawn: train", "aa11"), "select": ("drawn: val", "aa11")}
        assert run.data.tags["mlflow.note.content"]
    assert {"lr": "0.0001", "image_size": "64", "epochs": "2"}.items() <= runs["trial-0000"].data.params.items()


def test_a_used_port_is_told() -> None:
    with socket.socket() as used:
        used.bind((HOST, 0))
        used.listen()
        port = used.getsockname()[1]
        with pytest.raises(SearchError, match=f"but {port} is not .*--port {port + 1}, or make ui PORT={port + 1}"):
            check_port(port)
    check_port(find_port())


@pytest.mark.slow
def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("no database")
    with (
        pytest.raises(SearchError, match="MLflow's server must start on port"),
        serve_pages(f"sqlite:///{tmp_path}/no.db", find_port()),
    ):
        pass


# -------------------------------------------------------------------------------------------------- seen in a browser

CELLS = """return [...document.querySelectorAll(`.ag-center-cols-container [role="row"]`)]
    .sort((one, other) => one.getAttribute("row-index") - other.getAttribute("row-index"))
    .map(row => [...row.querySelectorAll(`[role="gridcell"]`)]
        .sort((one, other) => one.getBoundingClientRect().left - other.getBoundingClientRect().left)
        .map(cell => cell.innerText.trim()))"""
NAMES = """return [...document.querySelectorAll(`.ag-pinned-left-cols-container [role="row"]`)]
    .sort((one, other) => one.getAttribute("row-index") - other.getAttribute("row-index"))
    .map(row => row.querySelector("a")?.innerText.trim())"""
HEADERS = """return [...document.querySelectorAll(`.ag-header-viewport [role="columnheader"]`)]
    .sort((one, other) => one.getBoundingClientRect().left - other.getBoundingClientRect().left)
    .map(each => each.innerText.trim()).filter(Boolean)"""


@pytest.mark.slow
def test_the_page_is_the_leaderboard(served: Served, browser: Browser) -> None:
    (page,) = list_pages(default_uri(served.layout), "mine", "tiny")
    browser.open(served.address + page.path)
    ranked = sorted(SCORES, key=lambda number: -SCORES[number])
    browser.wait(NAMES, lambda found: found == [f"trial-{number:04d}" for number in ranked], timeout_s=180)
    wanted = [[str(SCORES[number]), STATUSES[number], f"why {STATUSES[number]}", "test_resnet"] for number in ranked]
    browser.wait(CELLS, lambda found: [row[:4] for row in found] == wanted)
    headers = list(dict.fromkeys(browser.run(HEADERS)))
    wanted = ["best/val_accuracy", "status", "reason", "backbone", "lr", "dropout"]
    shown = [name for name in headers if name in wanted]  # the last may be beyond the window
    assert len(shown) >= 5 and shown == wanted[: len(shown)]


@pytest.mark.slow
def test_charts_are_drawn(served: Served, browser: Browser) -> None:
    (page,) = list_pages(default_uri(served.layout), "mine", "tiny")
    browser.open("about:blank")  # else only the address's end changes, and the page stays
    browser.open(f"{served.address}{page.path}&compareRunsMode=CHART")
    # parallel coordinates; a line a trial, and a point a trial
    browser.wait("return document.querySelectorAll('.parcoords canvas, .parcoords').length", timeout_s=180)
    browser.wait(
        "return document.querySelectorAll('.js-plotly-plot .trace').length", lambda found: found >= 2 * len(SCORES), 180
    )
    shown = browser.run("return document.body.innerText")
    assert (
        "Score over parameters\n(1)" in shown and "Score\n(2)" in shown and f"Categories\n({len(CATEGORIES)})" in shown
    )
    assert "lr" in shown and "dropout" in shown and "trial-0001 (val/accuracy)" in shown


LINK = """const link = [...document.querySelectorAll("a")].find(each => each.href.includes("/runs/"));
    return link && [link.href, link.innerText.trim()]"""


@pytest.mark.slow
def test_a_models_page_leads_back_to_its_trial(served: Served, browser: Browser) -> None:
    """From the list of the experiment's models, the best first, to the page of one, and on to its run."""
    client = open_store(served.address)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    best = [{"field_name": "metrics.val/accuracy", "ascending": False}]
    models = list(client.search_logged_models([experiment], order_by=best))
    assert [model.name for model in models] == [f"mine-trial-{number:04d}" for number in KEPT]
    browser.open("about:blank")
    browser.open(f"{served.address}/#/experiments/{experiment}/models/{models[0].model_id}")
    href, _ = browser.wait(LINK, lambda found: found and found[1] == "trial-0001", timeout_s=180)  # first its id
    assert href.endswith(f"/runs/{models[0].source_run_id}")
    shown = browser.wait("return document.body.innerText", lambda found: "0.75" in found)
    assert "The model of trial 1 of mine after epoch 2" in shown and "val/accuracy" in shown
    browser.open("about:blank")
    browser.open(href)
    browser.wait("return document.body.innerText", lambda found: "mine-trial-0001" in found and "0.75" in found, 180)


SHOWN = "return document.body.innerText"
PANEL = "Ask questions about your experiments"  # of the Assistant; closed, its button stays
CLICK = """const found = [...document.querySelectorAll("button, label, a, [role=radio], div, span")];
    const one = found.find(each => each.innerText.trim() === "Model training");
    one && one.click(); return Boolean(one)"""
CLOSE = """const one = document.querySelector("button[aria-label*='lose']");
    one && one.click(); return Boolean(one)"""


@pytest.mark.slow
@pytest.mark.long
def test_a_runs_page_is_in_genai_mode_until_its_address_or_a_person_says_otherwise(
    served: Served, tmp_path: Path
) -> None:
    """MLflow 3.17's own pages: no tag of ours changes that. README says what to click, once; fails where that ends."""
    client = open_store(served.address)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    (run,) = client.search_runs([experiment], "tags.kind = 'search'")
    address = f"{served.address}/#/experiments/{experiment}/runs/{run.info.run_id}"
    with open_browser(tmp_path) as fresh:
        fresh.open(f"{address}?workflowType=machine_learning")
        shown = fresh.wait(SHOWN, lambda found: "About this run" in found, 180)
        assert "Evaluation runs" not in shown and PANEL in shown
        fresh.open("about:blank")
        fresh.open(address)
        fresh.wait(SHOWN, lambda found: "Evaluation runs" in found)
        assert fresh.run(CLICK)
        fresh.wait(SHOWN, lambda found: "Evaluation runs" not in found)
        fresh.wait(CLOSE)
        fresh.wait(SHOWN, lambda found: PANEL not in found)
        fresh.open("about:blank")
        fresh.open(address)
        shown = fresh.wait(SHOWN, lambda found: "About this run" in found)
        assert "Evaluation runs" not in shown and PANEL not in shown


@pytest.mark.slow
def test_a_server_takes_models_as_a_database_does(served: Served, tmp_path: Path) -> None:
    """Once, ranked as the search ranks them, and none of its run's points a second time."""
    layout = SearchLayout(tmp_path, "sent-to-a-server")
    write(layout)
    client, ranked = open_store(served.address), [{"field_name": "metrics.val/accuracy", "ascending": False}]
    for _ in range(2):
        assert resend(layout, served.address).models == len(KEPT)
        experiment = client.get_experiment_by_name("tiny").experiment_id
        found = client.search_logged_models([experiment], f"tags.search = '{layout.name}'", order_by=ranked)
        assert [int(model.tags["trial"]) for model in found] == list(KEPT)
        assert {len({point.key for point in model.metrics}) for model in found} == {len(found[0].metrics)}
        history = client.get_metric_history(found[0].source_run_id, "val/accuracy")
        assert [(point.step, point.value) for point in history] == [(1, 0.375), (2, 0.75)]
    (layout.checkpoint_folder(1) / MODEL_FILE).unlink()
    resend(layout, served.address)
    found = client.search_logged_models([experiment], f"tags.search = '{layout.name}'")
    assert [int(model.tags["trial"]) for model in found] == [2]
