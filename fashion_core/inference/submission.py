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

    from fashion_core.data.reading import Reading
    from fashion_core.data.rows import Annotations

SUBMISSION_FILE, SUBMISSION_ZIP = "prediction.txt", "prediction.zip"


def write_submission(saved: Saved, data: Path, out: Path, *, cache_dir: Path, reading: Reading | None = None) -> Path:
    """Write `prediction.txt`, K class indices a line for each image of `test.txt` in its order, and a zip of it alone.

    Args:
        data: a data set with test images.
        out: folder of the two files, made if needed.
        cache_dir: of prepared images; where a search of this data keeps them, nothing is decoded.
        reading: how the data set is read; a faulty row of test never passes.

    Returns:
        The zip file.

    Raises:
        DataError: the data set's test images or its categories do not allow it.
    """
    annotations = load_annotations(data, reading)
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
    pairs = zip(annotations.skipped, annotations.skipped_splits, strict=True)
    faults = [fault for fault, split in pairs if split == "test"]
    if faults:
        raise DataError("a submission answers every image of test.txt, but these are at fault:", faults)
    count: int = annotations.table["split"].to_pylist().count("test")
    if not count:
        raise DataError(f"a submission needs images in {annotations.lists['test']}, but {annotations.folder} has none")
    return count
