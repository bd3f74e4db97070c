"""A saved model asked for attributes: the same pixels and answers as in training, and errors a person can act on."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_photographs import draw_photograph, encode, store_turned, write_png
from PIL import Image

from fashion_core import predict
from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.data.prepared import PreparedData, prepare
from fashion_core.errors import Fault
from fashion_core.inference import predictor
from fashion_core.inference.predictor import survey_images
from fashion_core.models import forward
from fashion_core.models.saved import SavedModel, load_model, save_model
from fashion_core.training.loop import fit

NOBODY = 65534  # a user without rights
CONFIG = TrainConfig(image_size=64, weights="package", epochs=1, lr=1e-3, batch_size=24, eval_batch_size=20)


@pytest.fixture(scope="module")
def model_folder(sample_prepared: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained for a moment, saved with the confusion matrices that `evaluate` counted."""
    data = sample_prepared
    *_, last = fit(CONFIG, data, train=data.indices("train"), val=data.indices("val"), device="cpu")
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, last.state.best, CONFIG, data.schema, data.fingerprint)
    return folder


@pytest.fixture(scope="module")
def saved(model_folder: Path) -> SavedModel:
    return load_model(model_folder)


def run_main(*arguments: object) -> None:
    predict.main([str(argument) for argument in (*arguments, "--device", "cpu")])


def box_text(box: np.ndarray) -> str:
    return ",".join(map(str, box))


# ---------------------------------------------------------------------------------------------- agreement with training


@pytest.mark.parametrize("crop", ["box", "box_margin", "box_square", "whole"])
def test_pixels_are_those_of_the_prepared_data(sample_folder: Path, tmp_path: Path, crop: str) -> None:
    config = TrainConfig(image_size=48, crop=crop, crop_margin=0.2)
    view = build_settings(config)
    annotations = load_annotations(sample_folder)
    annotations = replace(annotations, table=annotations.table.slice(0, 5))
    data = prepare(annotations, PrepareSettings(48, crop, 0.2), tmp_path)
    for index, expected in enumerate(data.gather(np.arange(5))):
        box = tuple(data.boxes[index].tolist())
        pixels = predictor.read_views(sample_folder / data.names[index], box, [view])[view]
        assert np.array_equal(pixels, expected)
        whole = predictor.read_views(sample_folder / data.names[index], None, [view])[view]
        assert np.array_equal(whole, expected) == (crop == "whole")


@pytest.mark.slow
def test_answers_are_those_of_evaluate(saved: SavedModel, sample_folder: Path, sample_prepared: PreparedData) -> None:
    """File by file with its box, the validation images give the confusion matrices counted in training."""
    data = sample_prepared
    confusion = [np.zeros((size, size), int) for size in data.schema.sizes]
    for index in data.indices("val"):
        box = tuple(data.boxes[index].tolist())
        (answer,) = predictor.predict_images(saved, [sample_folder / data.names[index]], box)
        for matrix, label, values in zip(confusion, data.labels[index], answer.probabilities, strict=True):
            matrix[label, values.argmax()] += 1
            assert values.sum() == pytest.approx(1, abs=1e-5)
    assert [matrix.tolist() for matrix in confusion] == saved.confusion
    assert max(np.count_nonzero(matrix.sum(0)) for matrix in confusion) > 1  # it does not give one answer to all


def test_flip_averaging_is_the_configurations(saved: SavedModel, sample_prepared: PreparedData) -> None:
    pixels = sample_prepared.gather(sample_prepared.indices("val")[:4])
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
    plain = replace(saved, config=saved.config.model_copy(update={"eval_flip": False}))
    for averaged, one, other, flipped in zip(
        *(
            forward.predict_pixels(model, batch)
            for model, batch in ((saved, pixels), (plain, pixels), (plain, mirrored))
        ),
        forward.predict_pixels(saved, mirrored),
        strict=True,
    ):
        np.testing.assert_allclose(averaged, (one + other) / 2, atol=1e-5)
        np.testing.assert_allclose(averaged, flipped, atol=1e-5)
        assert not np.allclose(one, other, atol=1e-4)


def test_many_images_answer_as_one_by_one(saved: SavedModel, sample_folder: Path) -> None:
    images = sorted((sample_folder / "img").iterdir())[:23]  # more than eval_batch_size
    together = list(predictor.predict_images(saved, images))
    assert [answer.image for answer in together] == [str(image) for image in images]
    for index in (0, 19, 20, 22):
        (alone,) = predictor.predict_images(saved, [images[index]])
        for one, other in zip(together[index].probabilities, alone.probabilities, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_no_more_images_are_held_than_are_answered_at_once(saved: SavedModel, sample_folder: Path) -> None:
    """However many are asked: the next are read when the answers before them were taken."""
    asked = 0

    def ask() -> Iterator[predictor.Question | Fault]:
        nonlocal asked
        for number in itertools.count():
            asked += 1
            place = sample_folder / "img" / f"{number % 9:05}.jpg"
            yield Fault("seven", None, "it is missing") if number == 7 else predictor.Question(str(number), place)

    for number, answer in enumerate(itertools.islice(predictor.answer_each(saved, ask()), 45)):
        assert asked == 20 * (number // 20 + 1)
        name = answer.file if isinstance(answer, Fault) else answer.image
        assert name == ("seven" if number == 7 else str(number))


def test_a_box_in_every_form(saved: SavedModel, sample_folder: Path) -> None:
    image = sample_folder / "img" / "00000.jpg"
    (expected,) = predictor.predict_images(saved, [image], (10, 5, 70, 90))
    assert expected.box == (10, 5, 70, 90) and expected.warning is None
    for box in ([10, 5, 70, 90], "10,5,70,90", "10 5 70 90", {"x": 10, "y": 5, "width": 60, "height": 85}):
        (answer,) = predictor.predict_images(saved, [str(image)], box)
        assert answer.to_dict() == expected.to_dict() | {"image": str(image)}
    for nothing in (None, "", float("nan")):
        (answer,) = predictor.predict_images(saved, [image], nothing)
        assert answer.box is None and "trained on images" in str(answer.warning)


# -------------------------------------------------------------------------------------------------------- command line


def test_printed_answer(
    model_folder: Path, sample_folder: Path, sample_prepared: PreparedData, capsys: pytest.CaptureFixture[str]
) -> None:
    image, box = sample_folder / sample_prepared.names[0], box_text(sample_prepared.boxes[0])
    run_main(model_folder / "model.safetensors", image, "--box", box)
    output = capsys.readouterr()
    first, *lines = output.out.splitlines()
    assert str(image) in first and box in first and not output.err
    assert [line.split()[0] for line in lines] == list(sample_prepared.schema.names)
    for line, category in zip(lines, sample_prepared.schema.categories, strict=True):
        _, best, probability, _, second, other = line.split()
        assert {best, second} <= set(category.classes) and 1 >= float(probability) >= float(other) >= 0


def test_json_of_a_folder(
    model_folder: Path, sample_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("00002.jpg", "00000.jpg"):
        shutil.copy(sample_folder / "img" / name, tmp_path)
    Image.open(tmp_path / "00000.jpg").convert("RGBA").save(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("not an image")
    run_main(model_folder, tmp_path, "--json")
    output = capsys.readouterr()
    answers = [json.loads(line) for line in output.out.splitlines()]
    assert [Path(answer["image"]).name for answer in answers] == ["00000.jpg", "00002.jpg", "a.png"]
    assert "--box" in output.err  # the model was trained on boxes
    assert f"left out, unreadable or no images: 1 ({tmp_path / 'notes.txt'})\n" in output.err
    for values in answers[0]["attributes"].values():
        assert values["probability"] == max(values["probabilities"].values())
        assert values["probabilities"][values["class"]] == values["probability"]
        assert sum(values["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answers[0]["attributes"] == answers[2]["attributes"] and answers[0]["box"] is None
    assert all("trained on images" in answer["warning"] for answer in answers)


def test_a_folder_of_photographs_as_people_have_them(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One picture in many files has one answer; what is no photograph is named, and no program is started for it."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # the extra is not installed
    picture = draw_photograph(64, 96)
    for orientation in (1, 3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(store_turned(picture, orientation))
        (tmp_path / f"turned{orientation}.png").write_bytes(encode(stored, "PNG", exif=exif))
    for suffix, kind in ((".tif", "TIFF"), (".BMP", "BMP")):
        (tmp_path / f"same{suffix}").write_bytes(encode(picture, kind))
    deep = [row.tobytes() for row in (picture.astype(">u2") * 257)]
    (tmp_path / "deep.apng").write_bytes(write_png(deep, 64, 16, 2))
    cut = encode(draw_photograph(200, 300), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(cut[: len(cut) // 3 * 2] + b"\xff\xd9")
    (tmp_path / "program.jpg").write_bytes(encode(picture, "EPS"))
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
    with pytest.raises(SystemExit) as stopped:
        run_main(model_folder, tmp_path, "--json")
    output = capsys.readouterr()
    answers = [json.loads(line) for line in output.out.splitlines()]
    assert stopped.value.code == 2 and len(answers) == 6
    assert len({json.dumps(answer["attributes"]) for answer in answers}) == 1
    for name, reason in (("cut.jpg", "cut off"), ("program.jpg", "must be one of JPEG"), ("phone.heic", "HEIF")):
        assert any(name in line and reason in line for line in output.err.splitlines())


def test_a_folder_is_read_with_all_below_it(
    model_folder: Path, sample_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["b.jpg", "deep/a.JPG", "deep/er/c.jpg"]
    others = [f"deep/{number}.txt" for number in range(7)]
    for name in (*names, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample_folder / "img" / "00000.jpg", tmp_path / name)
    run_main(model_folder, tmp_path, "--json")
    output = capsys.readouterr()
    assert [json.loads(line)["image"] for line in output.out.splitlines()] == [str(tmp_path / name) for name in names]
    assert "no images: 7 (" in output.err and output.err.count(".txt") == 5 and ", ..." in output.err


def test_a_link_to_a_folder_is_left_out_and_named(
    model_folder: Path, sample_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may lead back to where it stands."""
    shutil.copy(sample_folder / "img" / "00000.jpg", tmp_path)
    (tmp_path / "around").symlink_to(tmp_path)
    (tmp_path / "around.jpg").symlink_to(tmp_path)
    run_main(model_folder, tmp_path)
    assert f"no images: 2 ({tmp_path / 'around'}, {tmp_path / 'around.jpg'})" in capsys.readouterr().err


def test_a_folder_below_that_nobody_may_look_into_is_left_out_and_named() -> None:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        shut, image = Path(folder, "a"), Path(folder, "b.jpg")
        shut.mkdir()
        image.touch()
        Path(folder).chmod(0o755)
        shut.chmod(0)
        if user == 0:  # who may look into all
            os.seteuid(NOBODY)
        try:
            survey = survey_images([Path(folder)])
        finally:
            os.seteuid(user)
        assert (survey.count, survey.left_out, survey.named) == (1, 1, (shut,))


@pytest.mark.slow
def test_boxes_of_a_file_and_answers_in_one(
    model_folder: Path, sample_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the images are answered one by one, with their boxes; what was not answered is in the file too."""
    data, out = tmp_path / "data", tmp_path / "answers.jsonl"
    shutil.copytree(sample_folder, data)
    names = (data / "split" / "test.txt").read_text().split()
    boxes = (data / "split" / "test_bbox.txt").read_text().splitlines()
    for path in (data / "img").iterdir():
        if f"img/{path.name}" not in names[2:]:
            path.unlink()
    extra = data / "img" / "zz.jpg"
    shutil.copy(data / names[5], extra)
    (data / names[4]).write_text("no image")
    with pytest.raises(SystemExit) as stopped:
        run_main(model_folder, data / "img", "--boxes", data / "split" / "test_bbox.txt", "--out", out)
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and printed.out == f"{out}\n"
    assert f"1 of {len(names) - 1} images were not answered" in printed.err
    assert "seen whole: 1\n" in printed.err and "no image asked: 2\n" in printed.err
    rows = {Path(row["image"]).name: row for row in map(json.loads, out.read_text().splitlines())}
    assert [f"img/{name}" for name in rows] == [*sorted(names[2:]), "img/zz.jpg"]
    assert "must be one of" in rows[Path(names[4]).name]["error"] and "warning" in rows["zz.jpg"]
    for name, box in [*zip(names, boxes, strict=True)][5:8]:
        x1, y1, x2, y2 = map(int, box.split())
        run_main(model_folder, data / name, "--json", "--box", f"{x1},{y1},{x2},{y2}")
        alone = json.loads(capsys.readouterr().out)
        found = rows[Path(name).name]
        assert found["box"] == alone["box"] == [x1, y1, x2, y2]
        for category, values in alone["attributes"].items():
            assert found["attributes"][category]["probabilities"] == pytest.approx(values["probabilities"], abs=1e-4)


@pytest.mark.slow
def test_a_command_that_was_cut_off_goes_on(
    model_folder: Path,
    sample_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = (model_folder, sample_folder / "img", "--out", tmp_path / "a.csv")
    run_main(*command)
    whole = (tmp_path / "a.csv").read_text()
    predict_views, calls = predictor.predict_views, 0

    def count_calls(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return predict_views(*arguments)

    monkeypatch.setattr(predictor, "predict_views", count_calls)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(SystemExit) as stopped:
        run_main(*command)
    assert stopped.value.code == 130 and "60 answers of 192 are kept in" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv.partial"]
    with pytest.raises(SystemExit):
        run_main(*command, "--min-confidence", "0.5")
    assert "differs in min_confidence" in capsys.readouterr().err
    run_main(*command)
    assert "going on after 60 answers of 192" in capsys.readouterr().err and calls == 4 + 7
    assert (tmp_path / "a.csv").read_text() == whole and [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.slow
def test_the_command_abstains(model_folder: Path, sample_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = sample_folder / "img" / "00000.jpg"
    for options, is_unsure in (([], False), (["--min-confidence", "0"], False), (["--min-confidence", "1"], True)):
        run_main(model_folder, image, "--json", *options)
        answer = json.loads(capsys.readouterr().out)
        for values in answer["attributes"].values():
            assert (values["class"] == "unsure") == is_unsure
            assert values["probability"] == max(values["probabilities"].values()) < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["IMAGE", "--min-confidence", "1.5"], "probability"),
        (["IMAGE", "--boxes", "xywh"], "must name a file of boxes"),
        (["IMAGE", "--boxes", "a.csv", "--boxes", "b.csv"], "one file"),
        (["IMAGE", "--boxes", "a.csv", "--box", "1,2,3,4"], "--box is that of all images"),
        (["IMAGE", "--boxes", "absent.csv"], "must exist"),
        (["IMAGE", "--out", "a.txt"], "must end in"),
        (["IMAGE", "--out", "a.csv", "--json"], "--out FILE goes without"),
        (["IMAGE", "--garments"], "--garments goes with --submission"),
        (["--submission", "DATA", "--min-confidence", "0.5"], "--min-confidence goes with images"),
        (["--submission", "DATA", "--boxes", "a.csv"], "must be one of xyxy"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], message: str, model_folder: Path, sample_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"IMAGE": str(sample_folder / "img" / "00000.jpg"), "DATA": str(sample_folder)}
    with pytest.raises(SystemExit) as stopped:
        run_main(model_folder, *(places.get(option, option) for option in options))
    output = capsys.readouterr()
    assert stopped.value.code == 2 and message in output.err and not output.out
    assert len([line for line in output.err.splitlines() if not line.startswith("note: ")]) <= 2


@pytest.mark.slow
def test_command_in_its_own_process(model_folder: Path, sample_folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "fashion_core.predict",
        model_folder,
        "--json",
        sample_folder / "img" / "00000.jpg",
    ]
    good = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(good.stdout)["attributes"]["sleeve"]["class"]


@pytest.mark.parametrize(
    "box", ["1,2,3", "9,9,2,2", "1,2,3,x", "10,10,10,20", "0,0,4000,20", "-1,0,20,20", "1.5,2,3,4"]
)
def test_bad_box(model_folder: Path, sample_folder: Path, box: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_main(model_folder, sample_folder / "img" / "00000.jpg", f"--box={box}")
    output = capsys.readouterr()
    assert stopped.value.code == 2 and "box must be" in output.err and box in output.err and not output.out


def test_bad_images_are_all_named_and_the_others_answered(
    model_folder: Path, sample_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sample_folder / "img" / "00000.jpg"
    cut, text, bomb, absent = (tmp_path / name for name in ("cut.jpg", "text.jpg", "bomb.png", "absent.jpg"))
    cut.write_bytes(good.read_bytes()[:3000])
    text.write_text("not an image")
    Image.new("1", (9000, 9000)).save(bomb)
    with pytest.raises(SystemExit) as stopped:
        run_main(model_folder, cut, text, good, bomb, absent)
    output = capsys.readouterr()
    assert stopped.value.code == 2 and output.out.splitlines()[0] == str(good)
    for path in (cut, text, bomb, absent):
        assert f"{path}: " in output.err
    assert "81000000" in output.err.replace(",", "") or "9000 x 9000" in output.err


def test_missing_model_empty_folder_and_no_images(
    model_folder: Path, sample_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sample_folder / "img" / "00000.jpg"
    for arguments, message in [
        ((tmp_path / "absent", image), "saved model"),
        ((tmp_path, image), "saved model"),
        ((image, image), "safetensors"),
        ((model_folder, tmp_path), "must hold images"),
        ((model_folder,), "name images"),
        ((model_folder, image, "--submission", sample_folder), "not both"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            run_main(*arguments)
        assert stopped.value.code == 2 and message in capsys.readouterr().err
