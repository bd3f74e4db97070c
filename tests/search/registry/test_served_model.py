"""The model that MLflow serves: answers as `fashion_core.predict` does, and names every faulty row."""

import base64
import re
import urllib.error
import urllib.request
from pathlib import Path

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from registered_models import (
    BOX,
    ask_core,
    check_table,
    post,
    run_server,
)

from search.registry.served_model import ServedModel, build_example
from search.registry.versions import Version


@pytest.mark.slow
def test_served_over_http(
    store: str, champion: Version, final: Path, photos: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["models", "serve", "-m", "models:/served@champion", "--env-manager", "local"]
    environment = {"MLFLOW_TRACKING_URI": store, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    with run_server(command, "ping", tmp_path, **environment) as address:
        rows = [[base64.b64encode(photo.read_bytes()).decode(), BOX] for photo in photos]
        table = {"columns": ["image", "box"], "data": rows}
        answered = post(address, {"dataframe_split": table, "params": {"tta": True}})
        check_table(pd.DataFrame(answered["predictions"]), ask_core(final, photos, capsys, "--box", BOX, "--tta"))
        rows[1][1] = "0,0,4000,9"
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(address, {"dataframe_split": table})
        assert refused.value.code == 400
        assert re.search(r"row 1: a box must be .* inside the image of 96 x 96", refused.value.read().decode())


def test_faulty_rows_are_all_named(final: Path, photos: list[Path]) -> None:
    served = ServedModel().load(final)
    good = base64.b64encode(photos[0].read_bytes()).decode()
    text = base64.b64encode(b"not an image").decode()
    for rows, faults in [
        ([(good, None), ("%%", ""), (None, ""), (good, "1,2")], ["row 1: `image`", "row 2: `image`", "row 3: a box"]),
        (
            [(good, float("nan")), (text, " "), (good, "0,0,99,9")],
            ["row 1: the image must be one of", "row 2: a box must be"],
        ),
    ]:
        with pytest.raises(MlflowException) as refused:
            served.predict(None, pd.DataFrame(rows, columns=["image", "box"]))
        assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
        assert all(fault in refused.value.message for fault in faults) and "row 0" not in refused.value.message
    assert len(served.predict(None, build_example(photos[0].read_bytes())[:0])) == 0
