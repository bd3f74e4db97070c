"""What MLflow shows of a search."""

from mlflow.tracking import MlflowClient

from search.tracking.store import default_uri

STATUSES = ("finished", "stopped", "failed", "diverged", "interrupted")


def look(layout):
    """All runs of the store, as plain values by run name, with every point of every metric."""
    client = MlflowClient(default_uri(layout))
    experiments = [e.experiment_id for e in client.search_experiments() if e.name == "tiny"]
    found = {}
    for run in client.search_runs(experiments):
        history = {
            name: sorted((m.timestamp, m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        tags = {name: value for name, value in run.data.tags.items()}
        times = (run.info.start_time, run.info.end_time)
        assert run.info.run_name not in found
        found[run.info.run_name] = (run.info.run_id, run.info.status, times, run.data.params, tags, history)
    return found
