"""The challenge's submission: what a saved model answers to the test images of a data set. N images, K categories."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from fashion_core.data.annotations import load_annotations
from fashion_core.data.prepared import prepare_all
from fashion_core.errors import DataError
from fashion_core.models.ensemble import Saved, as_ensemble
from fashion_core.models.forward import predict_prepared

if TYPE_CHECKING:
    from pathlib import Path

    from fashion_core.data.rows import Annotations

SUBMISSION_FILE, SUBMISSION_ZIP = "prediction.txt", "prediction.zip"


def write_submission(saved: Saved, data: Path, out: Path, *, cache_dir: Path, skip_bad: bool = False) -> Path:
    """Write `prediction.txt`, K class indices a line for each image of `test.txt` in its order, and a zip of it alone.

    Args:
        data: folder in DeepFashion's layout.
        out: folder of the two files, made if needed.
        cache_dir: of prepared images; where a search of this data keeps them, nothing is decoded.
        skip_bad: let faulty rows of train and val pass; one of test never does.

    Returns:
        The zip file.

    Raises:
        DataError: the data set's test images or its categories do not allow it.
    """
    annotations = load_annotations(data, skip_bad=skip_bad)
    count = count_test_images(annotations)
    ensemble = as_ensemble(saved)
    if annotations.schema != ensemble.schema:
        raise DataError(
            f"a submission's data must have the model's categories {ensemble.schema.to_dict()}, "
            f"but {data} has {annotations.schema.to_dict()}; train a model on this data"
        )
    prepared = prepare_all(annotations, ensemble.views, cache_dir)
    probabilities = predict_prepared(saved, prepared, prepared[ensemble.views[0]].indices("test"))
    answers = np.stack([values.argmax(1) for values in probabilities], 1)  # [N, K]
    assert len(answers) == count  # the prepared file keeps the order of the annotations
    text = "".join(" ".join(map(str, row)) + "\n" for row in answers.tolist())
    out.mkdir(parents=True, exist_ok=True)
    (out / SUBMISSION_FILE).write_text(text)
    with zipfile.ZipFile(out / SUBMISSION_ZIP, "w") as archive:  # without a time: equal answers give equal files
        archive.writestr(zipfile.ZipInfo(SUBMISSION_FILE), text, zipfile.ZIP_DEFLATED)
    return out / SUBMISSION_ZIP


def count_test_images(annotations: Annotations) -> int:
    """N, the images of `test.txt`.

    Raises:
        DataError: there are none, or one of them is at fault.
    """
    faults = [fault for fault in annotations.skipped if fault.file.startswith("split/test")]
    if faults:
        raise DataError("a submission answers every image of test.txt, but these are at fault:", faults)
    count: int = annotations.table["split"].to_pylist().count("test")
    if not count:
        raise DataError(f"a submission needs images in split/test.txt, but {annotations.folder} has none")
    return count
