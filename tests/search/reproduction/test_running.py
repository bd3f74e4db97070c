"""A reproduction from options to report: what it plans, and one tiny study for real."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import yaml
from made_trainings import make_trainings
from rich.console import Console
from whole_commands import share_ray

from fashion_core.errors import DataError, SearchError
from search.records.events import EndReason
from search.records.layout import SearchLayout
from search.records.record import load_record
from search.reproduction.options import ReproductionOptions
from search.reproduction.protocol import Arm, load_protocol
from search.reproduction.running import KILLED, find_state, list_begun, plan_work, reproduce, write_space
from search.reproduction.studies import build_studies
from search.reproduction.trainings import read_trainings
from search.space.reading import parse_space

if TYPE_CHECKING:
    from pathlib import Path

SPACE = """
sampler: grid
fixed:
  {image_size: 32, weights: none, feature: pooled, batch_size: 8, precision: fp32, eval_flip: false, optimizer: adam}
search:
  backbone: {choice: [test_resnet, test_efficientnet, test_convnext]}
  fc_layers: {choice: [0, 2, 4]}
scheduler: {type: none, max_epochs: 1}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return path


def test_the_space_of_a_search_has_each_point_as_often_as_it_is_missing() -> None:
    protocol = load_protocol("report_lite")
    arms = [*build_studies(0)["weights"].arms.values(), *build_studies(0)["box"].arms.values(), Arm(2)] * 2
    space = parse_space(write_space(protocol, arms), "some")
    assert space.trials == len(space.try_first) == len(arms) and space.scheduler.type == "none"
    assert not space.fixed.keys() & {parameter.name for parameter in space.parameters}
    crops = [point["crop"] for point in space.try_first[:5]]
    assert space.fixed["lr"] == 1e-3 and crops == ["box", "box", "box", "whole", "box"]


def test_all_studies_share_what_they_can(tmp_path: Path) -> None:
    work = plan_work("all", ReproductionOptions(results=tmp_path))
    assert (len(work.arms), len(work.missing)) == (14, 42)
    assert len({work.protocol.build_key(arm) for arm in work.missing[:14]}) == 14  # the first seed of each
    make_trainings(tmp_path, work.protocol, work.missing[:9])
    assert len(plan_work("all", ReproductionOptions(results=tmp_path)).missing) == 33
    assert len(plan_work("depth", ReproductionOptions(results=tmp_path, seeds=1)).missing) == 0


def test_searches_are_numbered(tmp_path: Path) -> None:
    protocol = load_protocol("report_lite")
    make_trainings(tmp_path, protocol, [Arm(0)], name="flip-report_lite-0")
    make_trainings(tmp_path, protocol, [Arm(0)], name="all-report_lite-12", ended=EndReason.INTERRUPTED)
    make_trainings(tmp_path, protocol, [Arm(0)], name="flip-report_lite-extra", ended=None)
    assert list_begun(tmp_path, "") == [(0, "flip-report_lite-0"), (12, "all-report_lite-12")]
    assert list_begun(tmp_path, "flip-report_lite") == [(0, "flip-report_lite-0")]
    assert find_state(tmp_path, "all-report_lite-12") == EndReason.INTERRUPTED
    assert find_state(tmp_path, "flip-report_lite-extra") == find_state(tmp_path, "none") == KILLED


def test_without_data_the_report_is_written_alone(tmp_path: Path) -> None:
    found = reproduce("flip", ReproductionOptions(results=tmp_path / "new"))
    assert found is not None and len(found.judged) == 15
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["README.md"]


@pytest.mark.slow
def test_a_plan_tells_trainings_and_time_and_does_nothing(tmp_path: Path, tiny: Path, sample_folder: Path) -> None:
    options = ReproductionOptions(results=tmp_path / "new", space=str(tiny), data=sample_folder, on="test_convnext")
    console = Console(file=io.StringIO(), width=120)
    assert reproduce("all", options, dry_run=True, console=console) is None
    told = console.file.getvalue()
    assert "42 trainings, of 1 epoch each" in told and "0 of 42" in told and "on test_convnext" in told
    assert "takes       about" in told and not (tmp_path / "new").exists()


def test_data_without_boxes_is_refused(tmp_path: Path, sample_folder: Path) -> None:
    table = tmp_path / "table.csv"
    images = sorted(path.name for path in (sample_folder / "img").rglob("*.*"))[:30]
    table.write_text("\n".join(["image,paint", *(f"img/{name},{'ab'[i % 2]}" for i, name in enumerate(images))]))
    (tmp_path / "img").symlink_to(sample_folder / "img")
    with pytest.raises((DataError, SearchError)) as raised:
        reproduce("flip", ReproductionOptions(results=tmp_path / "new", data=table), dry_run=True)
    assert "crops by boxes" in str(raised.value)


@pytest.mark.slow
def test_a_study_trains_what_is_missing_and_goes_on_where_it_was_cut_off(
    tmp_path: Path, tiny: Path, sample_folder: Path
) -> None:
    results = tmp_path / "new"
    options = ReproductionOptions(results=results, space=str(tiny), data=sample_folder, seeds=1, concurrent=1)
    with share_ray():
        found = reproduce("box", options)
        assert found is not None and found.trained.train_count == 120 and len(found.trained.images) == 48
        layout = SearchLayout(results, "box-tiny-0")
        starts = {trial.params["crop"] for trial in load_record(layout).trials.values()}
        assert starts == {"box", "whole"} and load_record(layout).settings["start_seeds"]
        assert "one training each" in (results / "README.md").read_text()
        lines = layout.ledger.read_bytes().splitlines(keepends=True)
        ended = next(number for number, line in enumerate(lines) if b'"trial_ended"' in line)
        layout.ledger.write_bytes(b"".join(lines[: ended + 1]))  # as a kill after its first training would have left it
        assert len(read_trainings(results).by_key) == 1
        again = reproduce("box", options)
    assert again is not None and len(load_record(layout).trials) == 2
    assert [len(each) for each in again.trained.by_key.values()] == [1, 1]
    assert list_begun(results, "") == [(0, "box-tiny-0")]  # it went on, and nothing was missing then
    scores = {key: found.trained.find(key)[0].score for key in found.trained.by_key}
    assert scores == {key: again.trained.find(key)[0].score for key in again.trained.by_key}
    assert yaml.safe_load((results / "spaces" / "box-tiny-0.yaml").read_text())["trials"] == 2
