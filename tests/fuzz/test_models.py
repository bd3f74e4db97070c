"""What stands in the folders of models and of a promotion, damaged: an error in one line, or what could be meant."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from drawn_models import SCHEMA, draw_model
from hypothesis import given
from hypothesis import strategies as st
from mutation import check_told, damaged, damaged_bytes, damaged_json, fuzz, put

from fashion_core.config import TrainConfig
from fashion_core.data.prepared import PreparedData, find_known
from fashion_core.files import MODEL_FILE, TRAINING_FILE
from fashion_core.inference.temperatures import TEMPERATURES_FILE, load_temperatures
from fashion_core.models.ensemble import join_models, load_saved, save_ensemble, save_member
from fashion_core.models.saved import load_model, read_score
from fashion_core.training.checkpoint import load_training, save_training
from fashion_core.training.loop import fit
from fashion_core.training.state import TrainingState, build_state
from search.jobs.reruns import EPOCHS_FOLDER, RUN_FILE, Training, load_run, write_epoch
from search.jobs.training import TrainingJob, load_selection, save_selection
from search.promotion.retraining import read_cost
from search.records.layout import FinalLayout, SearchLayout
from search.registry.history import read_answers, read_history
from search.registry.models import find_result

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
TRAIN, VAL = np.arange(8), np.arange(120, 124)
CONFIG = TrainConfig(image_size=64, backbone="test_resnet", weights="none", batch_size=8, epochs=1, precision="fp32")


@dataclass(frozen=True, repr=False)
class Made:
    """A file that the product wrote. An example changes it, and the next one starts from what it held."""

    path: Path
    whole: bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def keep(path: Path) -> Made:
    return Made(path, path.read_bytes())


def split_header(content: bytes) -> tuple[dict[str, object], bytes]:
    """Header and tensors of a safetensors file."""
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


@st.composite
def damaged_tensors(draw, content: bytes) -> bytes:
    """A safetensors file: its bytes, its header's structure, or that of the description within."""
    how = draw(st.sampled_from(("bytes", "header", "description", "description")))
    if how == "bytes":
        return draw(damaged_bytes(content))
    header, tensors = split_header(content)
    if how == "header":
        text = draw(damaged_json(json.dumps(header)))
    else:
        header["__metadata__"] = {"description": draw(damaged_json(header["__metadata__"]["description"]))}
        text = json.dumps(header)
    packed = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(packed)) + packed + tensors


@st.composite
def damaged_arrays(draw, content: bytes) -> bytes:
    """An .npz file: its bytes, or one of its arrays of another shape or type, left out, or packed."""
    if draw(st.booleans()):
        return draw(damaged_bytes(content))
    with np.load(BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    name = draw(st.sampled_from(sorted(arrays)))
    value = arrays[name]
    match draw(st.sampled_from(("shape", "type", "leave out", "not a number", "pickled", "packed", "extra"))):
        case "shape":
            arrays[name] = draw(st.sampled_from((value[None], value.ravel()[:1], np.zeros((0, *value.shape)))))
        case "type":
            arrays[name] = draw(
                st.sampled_from((np.array("text"), np.zeros(value.shape), np.array([b"x"]), np.array(3j)))
            )
        case "leave out":
            del arrays[name]
        case "not a number":
            arrays[name] = np.full(value.shape, draw(st.sampled_from((np.nan, np.inf, -1e300, 2**62))))
        case "pickled":
            arrays[name] = np.array([{"a": 1}], object)
        case "packed":
            file = BytesIO()
            np.savez_compressed(file, **(arrays | {name: np.zeros(1 << 22)}))
            return file.getvalue()
        case "extra":
            arrays["surprise"] = value
    file = BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


# ----------------------------------------------------------------------------------------------------------- the models


@pytest.fixture(scope="module")
def model(folder: Path) -> Made:
    return keep(save_member(folder / "model", draw_model(3)))


@fuzz(20)
@given(data=st.data())
def test_models(model: Made, data: st.DataObject) -> None:
    put(model.path, data.draw(damaged_tensors(model.whole)))
    check_told(lambda: load_model(model.path))
    check_told(lambda: read_score(model.path.parent))


def test_a_model_may_not_name_a_network_that_it_has_not(model: Made) -> None:
    """Before memory is taken for it: this one has a billion parameters."""
    header, tensors = split_header(model.whole)
    description = json.loads(header["__metadata__"]["description"])
    description["config"] |= {"backbone": "vit_giant_patch14_224", "image_size": 224}
    packed = json.dumps(header | {"__metadata__": {"description": json.dumps(description)}}).encode()
    put(model.path, struct.pack("<Q", len(packed)) + packed + tensors)
    before = measure_peak()
    assert not check_told(lambda: load_model(model.path))
    assert measure_peak() - before < 400 << 20  # 4 GB is what the network takes


def measure_peak() -> int:
    """Bytes of memory that this process had at most."""
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module")
def ensemble(folder: Path) -> Made:
    return keep(save_ensemble(folder / "ensemble", join_models([draw_model(1), draw_model(2)], metrics={"a": 0.5})))


@fuzz(20)
@given(data=st.data())
def test_ensembles(ensemble: Made, data: st.DataObject) -> None:
    put(ensemble.path, data.draw(damaged(ensemble.whole)))
    check_told(lambda: load_saved(ensemble.path.parent))


@fuzz(5)
@given(data=st.data())
def test_temperatures(folder: Path, data: st.DataObject) -> None:
    path = folder / TEMPERATURES_FILE
    put(path, data.draw(damaged(b'{"pattern": 1.25, "fit": 0.75}')))
    check_told(lambda: load_temperatures(folder / MODEL_FILE, SCHEMA))


@pytest.fixture(scope="module")
def state(sample_prepared: PreparedData, folder: Path) -> tuple[TrainingState, Made]:
    result = next(fit(CONFIG, sample_prepared, train=TRAIN, val=VAL, device="cpu"))
    save_training(folder / "state", result.state)
    fresh = build_state(CONFIG, sample_prepared, TRAIN, result.state.device)
    return fresh, keep(folder / "state" / TRAINING_FILE)


@fuzz(5)
@given(data=st.data())
def test_training_states(state: tuple[TrainingState, Made], data: st.DataObject) -> None:
    fresh, made = state
    put(made.path, data.draw(damaged_tensors(made.whole)))
    check_told(lambda: load_training(made.path.parent, fresh))


# ------------------------------------------------------------------------------------------------------------- prepared


@fuzz(5)
@given(data=st.data())
def test_prepared_images(sample_prepared: PreparedData, folder: Path, data: st.DataObject) -> None:
    path = folder / sample_prepared.path.name
    put(path, data.draw(damaged_bytes(sample_prepared.path.read_bytes())))
    check_told(lambda: PreparedData.open(path))


@fuzz(5)
@given(data=st.data())
def test_notes_of_prepared_images(folder: Path, data: st.DataObject) -> None:
    note = folder / "known-a.json"
    put(note, data.draw(damaged(b'{"file": "prepared-0123abcd.arrow"}')))
    assert find_known(note) is None


@fuzz(5)
@given(data=st.data())
def test_selections(folder: Path, data: st.DataObject) -> None:
    path = folder / "selection.npz"
    save_selection(path, TRAIN, VAL)
    put(path, data.draw(damaged_arrays(path.read_bytes())))
    load_selection.cache_clear()
    check_told(lambda: load_selection(path))


# ------------------------------------------------------------------------------------------------------------ promotion


@pytest.fixture(scope="module")
def final(folder: Path) -> FinalLayout:
    layout = FinalLayout(folder / "final")
    layout.folder.mkdir()
    digests = np.array(["0" * 63 + letter for letter in "abcd"])
    np.savez(layout.answers, digests=digests, correct=np.ones((2, 4, 3)), labels=np.zeros((4, 3), np.int64))
    layout.trained_on.write_text(json.dumps({"digests": digests.tolist()}, indent=2))
    return layout


@fuzz(5)
@given(data=st.data())
def test_answers(final: FinalLayout, folder: Path, data: st.DataObject) -> None:
    other = FinalLayout(folder / "answers")
    other.folder.mkdir(exist_ok=True)
    put(other.answers, data.draw(damaged_arrays(final.answers.read_bytes())))
    check_told(lambda: read_answers(other))


@fuzz(5)
@given(data=st.data())
def test_what_a_model_was_trained_on(final: FinalLayout, folder: Path, data: st.DataObject) -> None:
    other = FinalLayout(folder / "trained")
    other.folder.mkdir(exist_ok=True)
    put(other.trained_on, data.draw(damaged(final.trained_on.read_bytes())))
    check_told(lambda: read_history(other))


@fuzz(5)
@given(data=st.data())
def test_the_best_trial(folder: Path, data: st.DataObject) -> None:
    layout = SearchLayout(folder, "found")
    layout.best_folder.mkdir(parents=True, exist_ok=True)
    layout.best_model.touch()
    put(layout.best_config, data.draw(damaged(b'{"trial": 3, "params": {"lr": 0.1}, "config": {"lr": 0.1}}')))
    check_told(lambda: find_result(layout))


@pytest.fixture(scope="module")
def rerun(sample_prepared: PreparedData, folder: Path) -> tuple[Training, Made, Made]:
    """A network that was trained again, with the files of its end and of its epoch."""
    job = TrainingJob(CONFIG, sample_prepared.path, folder / "selection.npz", None, threads=1)
    training = Training("trial-0003", 1, job, folder / "run")
    result = next(fit(CONFIG, sample_prepared, train=TRAIN, val=VAL, device="cpu"))
    training.folder.mkdir()
    write_epoch(training.folder, result)
    (training.folder / MODEL_FILE).touch()
    (training.folder / RUN_FILE).write_text(json.dumps({"status": "finished", "error": None}, indent=2))
    return training, keep(training.folder / RUN_FILE), keep(training.folder / EPOCHS_FOLDER / "0001.npz")


@fuzz(5)
@given(data=st.data())
def test_reruns(rerun: tuple[Training, Made, Made], data: st.DataObject) -> None:
    training, end, epoch = rerun
    put(end.path, data.draw(damaged(end.whole)))
    put(epoch.path, data.draw(damaged_arrays(epoch.whole)))
    check_told(lambda: training.status)
    check_told(lambda: load_run(training))


@fuzz(5)
@given(data=st.data())
def test_costs(folder: Path, data: st.DataObject) -> None:
    path = folder / "cost.json"
    put(path, data.draw(damaged(b'{"parameters": 1200345, "ms": 12.5}')))
    check_told(lambda: read_cost(path))


# ----------------------------------------------------------------------------------------------------- the suite itself


def test_a_planted_fault_is_found(folder: Path) -> None:
    """A reader that trusts its file, as they once did, fails this suite."""

    @fuzz(5)
    @given(data=st.data())
    def trust(data: st.DataObject) -> None:
        text = data.draw(damaged_json('{"members": [{"file": "a", "share": 0.5}]}'))
        check_told(lambda: [each["share"] for each in json.loads(text)["members"]])

    with pytest.raises(BaseException) as caught:  # several kinds of them, as a group
        trust()
    assert not isinstance(caught.value, AssertionError)


def test_files_that_unpack_to_much_more_are_refused(final: FinalLayout, tmp_path: Path) -> None:
    bomb = FinalLayout(tmp_path)
    with zipfile.ZipFile(bomb.answers, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("digests", "correct", "labels"):
            archive.writestr(f"{name}.npy", bytes(1 << 26))
    before = measure_peak()
    assert not check_told(lambda: read_answers(bomb))
    assert measure_peak() - before < 100 << 20


def test_a_header_that_tells_a_huge_array_takes_no_memory(tmp_path: Path) -> None:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 1, 1)})
    layout = FinalLayout(tmp_path)
    with zipfile.ZipFile(layout.answers, "w") as archive:
        for name in ("digests", "correct", "labels"):
            archive.writestr(f"{name}.npy", file.getvalue())
    assert not check_told(lambda: read_answers(layout))
