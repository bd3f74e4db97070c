"""A search's runs, and its models, taken out of MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.address import Address
from search.tracking.models import find_models, list_models
from search.tracking.store import open_store, tell_errors
from search.tracking.view import VIEW_TAG, is_of_search, name_view
from search.tracking.writer import SEARCH_TAG

if TYPE_CHECKING:
    from search.records.layout import SearchLayout
    from search.records.record import SearchRecord


def delete_runs(record: SearchRecord, uri: Address | str) -> int:
    """Delete the runs of a search and of its trials, with their models, as MLflow's pages would. Returns how many runs.

    They can be restored until `mlflow gc` frees their space. Runs of promotions stay: registered versions name them.

    Raises:
        SearchError: MLflow does not answer.
    """
    with tell_errors(uri):
        client = open_store(uri)
        for model in list_models(client, record.name) or []:
            if model.tags.get(SEARCH_TAG) == record.search_id:
                client.delete_logged_model(model.model_id)
        experiment = client.get_experiment_by_name(record.begun.space_name)
        if experiment is None:
            return 0
        view = VIEW_TAG + name_view(record.name)
        if is_of_search(experiment.tags.get(view, ""), record.search_id):
            client.delete_experiment_tag(experiment.experiment_id, view)
        count, wanted = 0, f"tags.{SEARCH_TAG} = '{record.search_id}'"
        while page := client.search_runs([experiment.experiment_id], wanted):  # those deleted are found no more
            for run in page:
                client.delete_run(run.info.run_id)
            count += len(page)
        return count


def delete_models(layout: SearchLayout, record: SearchRecord | None, uri: Address | str) -> int:
    """Delete a search's models in MLflow, as its pages would. Returns how many.

    Args:
        record: None: it cannot be read, and the place of the models tells whose they are.

    Raises:
        SearchError: MLflow does not answer.
    """
    if (file := Address.of(uri).file) is not None and not file.exists():
        return 0
    with tell_errors(uri):
        client = open_store(uri)
        found = find_models(client, layout, record) or []
        for model in found:
            client.delete_logged_model(model.model_id)
        return len(found)
