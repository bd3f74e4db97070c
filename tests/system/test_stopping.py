"""A search that another process asks to stop ends in order, and goes on when it is told to."""

import time

import pytest
from house_rules import by_size
from whole_commands import start

from search.commands.app import main
from search.records.events import SearchEnded
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

SPACE = """
trials: 2
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 8, precision: fp32, eval_flip: false}
search: {lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {type: none, max_epochs: 12}
"""


@pytest.mark.slow
def test_a_search_stops_when_it_is_asked_and_goes_on(tmp_path, sample_folder):
    (tmp_path / "space.yaml").write_text(SPACE)
    layout = SearchLayout(tmp_path / "results", "asked")
    options = ("--data", sample_folder, "--space", "space.yaml", "--name", "asked", "--concurrent", 1)
    process, deadline = start(tmp_path, "run.py", *options), time.monotonic() + 240
    while replay(read_events(layout.ledger)).count_epochs() < 1:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(SystemExit) as done:
        main(["stop", "asked", "--results", str(layout.results)])
    assert not done.value.code
    output, _ = process.communicate(timeout=240)
    stopped = replay(read_events(layout.ledger))
    assert process.returncode == 0, output
    assert stopped.ended.reason == "stopped" and 1 <= stopped.count_epochs() < 24
    assert layout.report.is_file() and "Traceback" not in output
    if by_size(ci=False, whole=True):
        process = start(tmp_path, "run.py", "--resume", "asked")
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        reasons = [event.reason for event in read_events(layout.ledger) if isinstance(event, SearchEnded)]
        assert reasons == ["stopped", "all trials ended"]
        assert replay(read_events(layout.ledger)).count_epochs() == 24
