"""How whole searches end before their time: each leaves its end in the ledger, and a report."""

import os
import signal
import time

import pytest
from house_rules import by_size
from same_search import find_differences
from whole_commands import start

from search.jobs.health import list_processes
from search.records.layout import SearchLayout
from search.records.ledger import read_events
from search.records.record import replay

pytestmark = pytest.mark.slow

SPACE = """
trials: 4
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 16}
search: {lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {type: none, max_epochs: 1000}
"""


def read(layout):
    return replay(read_events(layout.ledger))


def end(process, layout, *signals):
    """Send these to the command's whole group, as a terminal would: the first once an epoch more has ended, the next
    while it closes. Gives its output.
    """
    before = read(layout).count_epochs()
    wait_until(lambda: read(layout).count_epochs() > before, process)
    for number in signals:
        os.killpg(process.pid, number)
        wait_until(lambda: read(layout).trials[0].status == "interrupted", process)
    output, _ = process.communicate(timeout=240)
    return output


def wait_until(is_true, process):
    deadline = time.monotonic() + 240
    while not is_true() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_signal_ends_a_search_in_order(tmp_path, sample_folder):
    """A terminal that closes, a system that ends all, Ctrl-C twice: they reach the whole group, Ray's servers too."""
    (tmp_path / "tiny.yaml").write_text(SPACE)
    layout = SearchLayout(tmp_path / "results", "one")
    options = ["--data", sample_folder, "--space", "tiny.yaml", "--name", "one", "--concurrent", 1]
    ways = [((signal.SIGHUP,), 129), ((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGINT), 130)]
    ways = by_size(ci=ways[1:2], whole=ways)
    for signals, status in ways:
        process = start(tmp_path, "run.py", *options)
        output = end(process, layout, *signals)
        assert process.returncode == status, output
        record, options = read(layout), ["--resume", "one"]
        assert "Traceback" not in output and "The search ended: it was interrupted; go on with it:" in output
        assert "-m search run --resume one" in output
        assert record.ended.reason == "interrupted" and record.trials[0].status == "interrupted"
        assert "it was interrupted" in layout.report.read_text()
        layout.report.unlink()
    assert record.preparing_seconds > 0 and record.training_seconds > 0


def find_children(pid, name):
    """Processes of this name that another has started."""
    return [child for child, (called, _, parent) in list_processes().items() if (called, parent) == (name, pid)]


@pytest.mark.long  # `tests/search/tune/test_liveness.py` has the parts
def test_a_search_goes_on_though_ray_lost_its_head(tmp_path, sample_folder):
    """The command begins again in its own place: the same process, nothing of it changed by that."""
    (tmp_path / "tiny.yaml").write_text(SPACE.replace("1000", "4").replace("trials: 4", "trials: 2"))
    one, amid, before = (SearchLayout(tmp_path / "results", name) for name in ("one", "amid", "before"))
    for layout in (one, amid, before):  # trials began, or have not
        options = ["--data", sample_folder, "--space", "tiny.yaml", "--name", layout.name, "--concurrent", 1]
        process = start(tmp_path, "run.py", *options)
        if layout is not one:
            while not (layout.ledger.is_file() and read(layout).count_epochs()):
                if layout is before and layout.options.is_file():
                    break
                time.sleep(0.01)
            for pid in find_children(process.pid, "gcs_server"):
                os.kill(pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        told = output.count("note: Ray's gcs_server died; the command begins again, and goes on")
        assert told == (layout is not one) and "Traceback" not in output and "Failed to connect" not in output, output
        assert find_differences(one, layout) == []


@pytest.mark.long  # `tests/search/experiment/test_resuming.py` has the parts
def test_a_search_that_reached_its_target_is_given_more(tmp_path, sample_folder):
    """More trials, and longer ones: a constant learning rate makes its scores those on the way of a longer training."""
    constant = SPACE.replace("fixed: {", "fixed: {schedule: constant, warmup_fraction: 0, ")
    (tmp_path / "tiny.yaml").write_text(constant.replace("1000", "2"))
    layout = SearchLayout(tmp_path / "results", "one")
    options = ["--data", sample_folder, "--space", "tiny.yaml", "--name", "one", "--concurrent", 1]
    process = start(tmp_path, "run.py", *options, "--target", 0.01, "--trials", 2)
    output, _ = process.communicate(timeout=240)
    first = read(layout)
    assert (process.returncode, first.ended.reason, first.next_number) == (0, "target", 1), output
    assert first.trials[0].status == "interrupted" and first.trials[0].correct  # what reports compare it by
    assert "fashion-search extend one --target 0.9" in " ".join(output.split()) and layout.best_model.is_file()

    process = start(tmp_path, "extend", "one", "--trials", 2, "--max-epochs", 3)
    output, _ = process.communicate(timeout=240)
    record = read(layout)
    assert (process.returncode, record.ended.reason, record.next_number) == (0, "all trials ended", 3), output
    assert record.settings["trials"] == 3 and [trial.status for trial in record.trials.values()] == ["finished"] * 3
    assert record.settings["max_epochs"] == 3 and {trial.last_epoch for trial in record.trials.values()} == {3}
    assert record.compare_again() == (1, 0.0)
    assert record.proposed[0] == first.proposed[0] and record.trials[0].epochs[0] == first.trials[0].epochs[0]
