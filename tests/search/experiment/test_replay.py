"""One trial again: the numbers it had in the search, beside those the ledger has."""

import io
import re
import shutil

import pytest
from rich.console import Console
from written_search import write_search

from fashion_core import metrics
from fashion_core.config import TrainConfig
from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.errors import SearchError
from fashion_core.training.loop import fit
from search.experiment.replay import replay_trial
from search.records.layout import SearchLayout
from search.space.seeds import draw_seeds

RATES = [3e-3, 1e-4]
LINE = re.compile(
    r"epoch (\d): val/accuracy ([\d.]+) \(in the search: ([\w. ]+)\), train/loss ([\d.]+), [\d.]+ s", re.ASCII
)


@pytest.fixture(scope="module")
def written(tmp_path_factory, sample_folder):
    results = tmp_path_factory.mktemp("written") / "results"
    return write_search(results, "mine", sample_folder, RATES, select_on="val")


def replay(layout, number):
    console = Console(file=io.StringIO(), width=200)
    replay_trial(layout, number, console)
    return console.file.getvalue()


@pytest.mark.slow
def test_a_trial_has_its_own_numbers_again(written, sample_folder):
    """Alone, straight from `fit`: the seed is the trial's, the images are those of the search."""
    data = prepare(load_annotations(sample_folder), PrepareSettings(32, "box"), written.prepared_folder)
    config = TrainConfig(
        image_size=32,
        backbone="test_resnet",
        weights="none",
        batch_size=8,
        precision="fp32",
        eval_flip=False,
        lr=RATES[1],
        fc_layers=0,
        epochs=6,
        **draw_seeds(0, 1),
    )
    shown = replay(written, 1)
    assert shown.startswith("trial 1 of mine: finished, ")
    found = LINE.findall(shown)
    wanted = fit(config, data, train=data.labelled("train"), val=data.labelled("val"))
    assert [(epoch, score, loss) for epoch, score, _, loss in found] == [
        (str(each.epoch), f"{each.metrics[metrics.ACCURACY]:.4f}", f"{each.metrics[metrics.TRAIN_LOSS]:.4f}")
        for each in wanted
    ]
    assert [then for _, _, then, _ in found] == ["not reached"] * 5 + ["0.4900"]  # what its ledger has


@pytest.mark.slow
def test_the_ledger_stays_as_it_is(written):
    before = written.ledger.read_bytes()
    replay(written, 0)
    assert written.ledger.read_bytes() == before


def test_a_trial_that_is_none_is_told(written):
    with pytest.raises(SearchError, match="--trial must be one of the 2 trials of mine, but got 2"):
        replay(written, 2)


def test_a_search_that_is_none_is_told(written):
    with pytest.raises(SearchError, match="known are mine"):
        replay(SearchLayout(written.results, "yours"), 0)


def test_a_space_that_has_changed_is_told(written, tmp_path):
    """Its trials would be others."""
    layout = SearchLayout(tmp_path, "mine")
    shutil.copytree(written.folder, layout.folder)
    space = tmp_path / "tiny.yaml"
    space.write_text((written.results.parent / "tiny.yaml").read_text().replace("1e-9", "1e-8"))
    text = layout.options.read_text().replace(str(written.results.parent / "tiny.yaml"), str(space))
    layout.options.write_text(text)
    with pytest.raises(SearchError, match=r"tiny\.yaml has changed since"):
        replay(layout, 0)
