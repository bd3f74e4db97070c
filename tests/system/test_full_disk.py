"""A whole search, by its command, whose disk becomes full on the way."""

import time

import pytest
from same_search import find_differences
from small_disk import mount_disk
from whole_commands import call, start

from search.records.layout import SearchLayout
from search.records.ledger import read_events

pytestmark = [pytest.mark.usefixtures("shared_ray"), pytest.mark.slow]
SPACE = """
trials: 3
fixed: {image_size: 32, backbone: test_efficientnet, weights: none, batch_size: 16, precision: fp32}
search: {lr: {loguniform: [1e-4, 1e-2]}, dropout: {uniform: [0, 0.3]}}
scheduler: {type: asha, max_epochs: 3, grace_epochs: 1, reduction_factor: 2}
"""
PATIENCE_S = 240  # for what a machine that rests does in ten


def wait_for(is_so, process):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.long
def test_it_waits_says_so_and_equals_its_twin(tmp_path, sample_folder):
    (tmp_path / "tiny.yaml").write_text(SPACE)
    given = ("--data", sample_folder, "--space", tmp_path / "tiny.yaml", "--concurrent", 1, "--name", "one")
    done = call(tmp_path, "run.py", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    with mount_disk(tmp_path / "small", 256) as disk:
        layout = SearchLayout(disk.folder / "results", "one")
        process = start(tmp_path, "run.py", *given, "--results", layout.results)
        try:
            wait_for(lambda: len(read_events(layout.ledger)) >= 5, process)
            disk.fill()
            told = ""
            while "waiting: the disk of" not in told:
                line = process.stdout.readline()
                assert line, told
                told += line
            before = layout.ledger.read_bytes()
            disk.free()
            told += process.stdout.read()
            assert process.wait() == 0 and "Traceback" not in told, told
        finally:
            process.kill()
            process.stdout.close()
        assert layout.ledger.read_bytes().startswith(before) and before.endswith(b"\n")
        assert find_differences(SearchLayout(tmp_path / "results", "one"), layout) == []
        assert not [path for path in layout.results.rglob("*") if ".tmp" in path.name or ".part" in path.name]
        assert "does not take the search" not in told
