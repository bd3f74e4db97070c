"""Data sets in other forms than the challenge's, from a search to a promoted model that is asked, by the commands."""

import base64
import json

import mlflow
import pandas as pd
import pytest
from house_rules import by_size
from mlflow.tracking import MlflowClient
from other_layouts import COLUMNS, write_download, write_table
from registered_models import post, run_server
from whole_commands import call, tell

from fashion_core.models.saved import read_score
from search.records.ledger import read_events
from search.records.record import replay

pytestmark = pytest.mark.usefixtures("shared_ray")

SPACE = """
objective: OBJECTIVE
trials: 2
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 16, precision: fp32, eval_flip: false}
search: {lr: {loguniform: [1e-3, 1e-2]}}
scheduler: {type: none, max_epochs: 2}
"""


def search_and_promote(folder, data, objective="val/accuracy"):
    """What the search said, its record, and the folder of the model that was promoted."""
    (folder / "tiny.yaml").write_text(SPACE.replace("OBJECTIVE", objective))
    told = tell(folder, "run.py", "--data", data, "--space", "tiny.yaml", "--name", "mine")
    promoted = tell(folder, "promote.py", "mine", "--top", "1", "--seeds", "1", "--baseline", "none", "--force")
    assert "is the champion" in promoted
    results = folder / "results" / "mine"
    return told, replay(read_events(results / "ledger.jsonl")), results / "final"


def ask(folder, model, image, *options):
    """The champion's answer."""
    done = call(folder, "predict.py", f"models:/{model}@champion", image, "--json", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)["attributes"]


def ask_served(folder, model, image):
    """The same of the model as MLflow serves it, and each answer's probability; in a run of all tests, by a server."""
    rows = [[base64.b64encode(image.read_bytes()).decode()]]
    command = ["models", "serve", "-m", f"models:/{model}@champion", "--env-manager", "local"]
    uri = f"sqlite:///{folder}/results/mlflow.db"
    if by_size(ci=True, whole=False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", uri)
            served = mlflow.pyfunc.load_model(f"models:/{model}@champion")
            return served.predict(pd.DataFrame(rows, columns=["image"])).to_dict("records")[0]
    with run_server(command, "ping", folder, MLFLOW_TRACKING_URI=uri) as address:
        (answer,) = post(address, {"dataframe_split": {"columns": ["image"], "data": rows}})["predictions"]
    return answer


def check_alike(answer, served):
    """The command and the server answer the same."""
    assert list(answer) == [name for name in served if name in answer]
    for name, values in answer.items():
        assert served[name] == values["class"]
        assert served[f"{name}_probability"] == pytest.approx(values["probability"], abs=1e-5)


def check_objective(record, final, objective, folder):
    """The best epoch, the models that are kept, the gate and MLflow follow it; here, of a category with few labels."""
    best = record.rank()[0]
    for trial in record.trials.values():
        scores = [row.metrics[objective] for row in trial.epochs]
        assert (trial.best, trial.best_epoch) == (max(scores), 1 + scores.index(max(scores)))
        assert trial.best <= best.best and trial.standard_error > 0
    kept, epoch = read_score(final.parent / "best")
    assert (kept, epoch) == (best.best, best.best_epoch)
    report, card = (path.read_text() for path in (final.parent / "PROMOTION.md", final / "MODEL_CARD.md"))
    assert f"in `{objective}`, the accuracy of material" in report and f"better in {objective}: " in report
    assert f"Score, `{objective}`, the accuracy of material: **" in card
    client = MlflowClient(f"sqlite:///{folder}/results/mlflow.db")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()], "tags.kind = 'search'")
    assert run.data.metrics == {"best/val_accuracy_material": best.best}
    assert run.data.params["objective"] == objective


@pytest.mark.long
def test_deepfashion_as_it_is_downloaded(tmp_path, sample_folder):
    data = write_download(sample_folder, tmp_path / "download")
    told, record, final = search_and_promote(tmp_path, data, "val/accuracy/material")
    assert "Anno_fine" in told
    check_objective(record, final, "val/accuracy/material", tmp_path)
    assert record.selection["labelled"]["material"] == 41 and record.selection["labelled"]["sleeve"] == 48
    assert "labelled images" in (final / "MODEL_CARD.md").read_text()
    image = next((data / "Img" / "img").iterdir())
    answer = ask(tmp_path, "download", image)
    assert list(answer) == list(record.begun.categories)
    if by_size(ci=False, whole=True):
        check_alike(answer, ask_served(tmp_path, "download", image))


def test_a_table_of_own_categories(tmp_path, sample_folder):
    table = write_table(sample_folder, tmp_path / "own data")
    told, record, final = search_and_promote(tmp_path, table)
    assert "labels.csv" in told and "no column split" in told
    assert list(record.begun.categories) == list(COLUMNS.values())
    assert record.selection["select_count"] == pytest.approx(0.15 * 168, abs=4)
    (splits,) = (tmp_path / "results" / ".splits").iterdir()
    dealt = splits.read_text()
    assert record.selection["labelled"].keys() == set(COLUMNS.values())
    image = tmp_path / "own data" / "photo 5 é.jpg"
    answer = ask(tmp_path, "own-data-labels", image)
    assert list(answer) == list(COLUMNS.values())
    check_alike(answer, ask_served(tmp_path, "own-data-labels", image))
    card = (final / "MODEL_CARD.md").read_text()
    assert "garment" not in card and "cloth" not in card
    assert splits.read_text() == dealt and json.loads((final / "attributes.json").read_text()).keys() == set(answer)
