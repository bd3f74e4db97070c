"""The challenge's submission: a saved model's answers to the test images of a data set. N images, K categories."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from fashion_core.checkpoint import SavedModel
from fashion_core.deepfashion import Annotations, load_annotations
from fashion_core.errors import DataError
from fashion_core.predict import build_settings, predict_pixels
from fashion_core.prepared import PreparedData, prepare

SUBMISSION_FILE, SUBMISSION_ZIP = "prediction.txt", "prediction.zip"


def write_submission(saved: SavedModel, data: Path, out: Path, *, cache_dir: Path, skip_bad: bool = False) -> Path:
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
    if annotations.schema != saved.schema:
        raise DataError(
            f"a submission's data must have the model's categories {saved.schema.to_dict()}, "
            f"but {data} has {annotations.schema.to_dict()}; train a model on this data"
        )
    prepared = PreparedData.open(prepare(annotations, build_settings(saved.config), cache_dir))
    answers = answer_images(saved, prepared, prepared.indices("test"))
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
    count = annotations.table["split"].to_pylist().count("test")
    if not count:
        raise DataError(f"a submission needs images in split/test.txt, but {annotations.folder} has none")
    return count


def answer_images(saved: SavedModel, data: PreparedData, indices: np.ndarray) -> np.ndarray:
    """[N, K] class indices of the prepared images at `indices`."""
    size = saved.config.eval_batch_size
    parts = [
        predict_pixels(saved, data.gather(indices[start : start + size])) for start in range(0, len(indices), size)
    ]
    return np.concatenate([np.stack([values.argmax(1) for values in part], 1) for part in parts])
