"""A search that ended, written down by hand: as its ledger would tell, but with made-up scores and no training."""

from pathlib import Path

from fashion_core.data.annotations import load_annotations
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.prepared import prepare
from fashion_core.data.splits import select_images
from search.experiment.beginning import describe_start
from search.planning.options import SearchOptions
from search.planning.plan import build_plan
from search.planning.resources import Machine
from search.records.events import EpochEnded, SearchEnded, TrialEnded, TrialStarted
from search.records.layout import SearchLayout
from search.records.ledger import Ledger

SPACE = """
trials: 4
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 8, precision: fp32, eval_flip: false}
search: {lr: {loguniform: [1e-9, 1e-1]}, fc_layers: {choice: [0, 1]}}
scheduler: {type: none, max_epochs: 6}
"""


def write_search(
    results: Path,
    name: str,
    data: Path,
    rates: list[float],
    *,
    statuses: tuple[str, ...] = ("finished",) * 9,
    select_on: str = "heldout",
) -> SearchLayout:
    """A trial a learning rate; the first has the best score, 0.5, the next 0.49, and so on."""
    layout = SearchLayout(results, name)
    space = results.parent / "tiny.yaml"
    space.write_text(SPACE)
    options = SearchOptions(data=data, space=str(space), name=name, select_on=select_on, results=results)
    plan = build_plan(options, layout, Machine(2, 0))
    prepared = prepare(load_annotations(data), PrepareSettings(32, "box"), layout.prepared_folder)
    selection = select_images(prepared, select_on, 0)
    layout.folder.mkdir(parents=True)
    options.save(layout.options)
    with Ledger(layout.ledger) as ledger:
        ledger.append(describe_start(plan, prepared, selection, ["python"]))
        for number, (lr, status) in enumerate(zip(rates, statuses, strict=False)):
            score = 0.5 - number / 100
            ledger.append(
                TrialStarted(trial=number, trial_id=str(number), params={"lr": lr, "fc_layers": 0}, enqueued=False)
            )
            ledger.append(EpochEnded(trial=number, epoch=6, metrics={"val/accuracy": score}))
            ledger.append(TrialEnded(trial=number, status=status, reason="", best=score, best_epoch=6))
        ledger.append(SearchEnded(reason="all trials ended", seconds=1.0))
    return layout
