"""The challenge's submission: what a model answers to `test.txt`, in its order, or why there is none."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from drawn_models import draw_model
from other_layouts import write_download

from fashion_core import predict
from fashion_core.data.prepared import PreparedData
from fashion_core.data.reading import Reading
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import DataError
from fashion_core.inference import predictor, submission
from fashion_core.models.ensemble import save_member
from fashion_core.models.saved import SavedModel


@pytest.fixture(scope="module")
def saved(sample_prepared: PreparedData) -> SavedModel:
    return draw_model(1, sample_prepared.schema, eval_batch_size=20)


@pytest.fixture(scope="module")
def model_folder(saved: SavedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_member(tmp_path_factory.mktemp("model"), saved).parent


def run_main(*arguments: object) -> None:
    predict.main([str(argument) for argument in (*arguments, "--device", "cpu")])


@pytest.mark.slow
def test_submission(
    model_folder: Path, saved: SavedModel, sample_folder: Path, sample_prepared: PreparedData, tmp_path: Path
) -> None:
    cache = sample_prepared.path.parent
    run_main(model_folder, "--submission", sample_folder, "--out", tmp_path / "new", "--cache-dir", cache)
    text = (tmp_path / "new" / "prediction.txt").read_text()
    with zipfile.ZipFile(tmp_path / "new" / "prediction.zip") as archive:
        assert archive.namelist() == ["prediction.txt"] and archive.read("prediction.txt").decode() == text
    names = (sample_folder / "split" / "test.txt").read_text().split()
    boxes = [tuple(map(int, line.split())) for line in (sample_folder / "split" / "test_bbox.txt").open()]
    expected = ""
    for name, box in zip(names, boxes, strict=True):
        (answer,) = predictor.predict_images(saved, [sample_folder / name], box)
        expected += " ".join(str(values.argmax()) for values in answer.probabilities) + "\n"
    assert text == expected
    assert len(set(text.splitlines())) > 1
    assert text.count("\n") == 24 and set(text) <= set("0123456789 \n")
    example = (sample_folder / "split" / "val_attr.txt").read_text().splitlines()[0]
    assert len(example.split(" ")) == len(text.splitlines()[0].split(" "))
    again = submission.write_submission(saved, sample_folder, tmp_path / "again", cache_dir=cache)
    assert again.read_bytes() == (tmp_path / "new" / "prediction.zip").read_bytes()
    assert [path.name for path in cache.glob("*.arrow")] == [sample_prepared.path.name]  # nothing was prepared again


@pytest.mark.slow
def test_data_that_needs_its_options(
    model_folder: Path, saved: SavedModel, sample_folder: Path, sample_prepared: PreparedData, tmp_path: Path
) -> None:
    """The options that say how a search reads its data say it of a submission's too."""
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(sample_folder, data)
    for path in (data / "split").glob("*_bbox.txt"):
        rows = [list(map(int, line.split())) for line in path.read_text().splitlines()]
        path.write_text("".join(f"{x1} {y1} {x2 - x1} {y2 - y1}\n" for x1, y1, x2, y2 in rows))
    cache = sample_prepared.path.parent
    run_main(model_folder, "--submission", sample_folder, "--out", out, "--cache-dir", cache)
    expected = (out / "prediction.txt").read_text()
    options = ("--out", out, "--cache-dir", tmp_path / "cache")
    run_main(model_folder, "--submission", data, *options, "--boxes", "xywh")
    assert (out / "prediction.txt").read_text() == expected
    official = write_download(sample_folder, tmp_path / "official")
    groups = {name: list(classes)[:2] for name, classes in sample_prepared.schema.to_dict().items()}
    (tmp_path / "groups.yaml").write_text(json.dumps(groups))
    schema = AttributeSchema.from_dict(groups)
    other = save_member(tmp_path / "other", draw_model(2, schema)).parent
    with pytest.raises(SystemExit):
        run_main(other, "--submission", official, *options)
    run_main(other, "--submission", official, *options, "--attributes", tmp_path / "groups.yaml")
    lines = (out / "prediction.txt").read_text().splitlines()
    assert len(lines) == 24 and all(set(line.split()) <= {"0", "1"} for line in lines)


def test_submission_refuses_other_categories_missing_and_faulty_test_images(
    saved: SavedModel, sample_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(sample_folder, data)

    def write(folder: Path = data) -> Path:
        return submission.write_submission(
            saved, folder, tmp_path / "out", cache_dir=tmp_path / "cache", reading=Reading(skip_bad=0.2)
        )

    test_boxes = data / "split" / "test_bbox.txt"
    kept = test_boxes.read_text()
    test_boxes.write_text(kept.replace(kept.splitlines()[3], "009 009 002 002"))
    with pytest.raises(DataError, match=r"test_bbox\.txt:4"):
        write()
    test_boxes.write_text(kept)
    for path in (data / "split").glob("test*"):
        path.unlink()
    with pytest.raises(DataError, match="none"):
        write()
    classes = sample_folder / "split" / "list_attr_cloth.txt"
    (data / "split" / classes.name).write_text(classes.read_text().replace("floral", "flower"))
    shutil.copy(sample_folder / "split" / "test.txt", data / "split")
    shutil.copy(sample_folder / "split" / "test_bbox.txt", data / "split")
    with pytest.raises(DataError, match="flower"):
        write()
    assert not (tmp_path / "out").exists()
