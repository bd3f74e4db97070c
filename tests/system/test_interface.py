"""The product as an object: README's Python block, in a thread, twice in one process, silent; in a notebook."""

import re
import threading
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from fashion_core.models.saved import SavedModel
from search import SearchOptions, SearchResult, load_search, run_search

REPOSITORY = Path(__file__).resolve().parents[2]
SPACE = """
trials: 2
fixed: {image_size: 32, backbone: test_resnet, weights: none, batch_size: 16, eval_flip: false}
search: {lr: {loguniform: [1e-4, 1e-2]}}
scheduler: {type: none, max_epochs: 2}
"""


def read_block() -> str:
    """The first Python block of README that searches."""
    blocks = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if "run_search" in block)


@pytest.fixture
def block(sample_folder, tmp_path, monkeypatch):
    """It, for a small data set and space. It runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(SPACE)
    (tmp_path / "photo.jpg").write_bytes(next((sample_folder / "img").glob("*.jpg")).read_bytes())
    text = read_block()
    for shown, used in (('"FashionDataset"', repr(str(sample_folder))), ('"demo"', '"tiny.yaml"')):
        assert shown in text
        text = text.replace(shown, used)
    return text


def run_in_thread(block: str) -> dict:
    """What the names of the block are bound to after it ran in a thread of its own."""
    names: dict = {}
    thread = threading.Thread(target=exec, args=(block, names))
    thread.start()
    thread.join()
    return names


def test_the_readmes_block_runs_in_a_thread_and_twice(block, capfd):
    first, second = (run_in_thread(block)["result"] for _ in range(2))
    assert isinstance(first, SearchResult) and first.name != second.name
    for result in (first, second):
        assert list(result.trials["status"]) == ["finished", "finished"]
        assert result.best.best == result.trials["val/accuracy"].max()
        assert isinstance(result.model(), SavedModel) and result.layout.report.is_file()
    # the same seed and one space: the same trials
    assert list(first.trials["lr"]) == list(second.trials["lr"])
    printed = capfd.readouterr().out
    assert "material" in printed  # the block's own answers
    assert "trial 0" not in printed and "preparing" not in printed  # and nothing of the search
    again = load_search(first.name)
    assert again.state == "all trials ended" and again.to_dict()["best"] == first.to_dict()["best"]


NOTEBOOK = """
print("before")
from search import SearchOptions, run_search
result = run_search(SearchOptions(data=DATA, space="tiny.yaml"))
print(result.trials["status"].tolist(), type(result.model()).__name__)
"""


@pytest.mark.long  # the whole search in this process is the test above; Ray and MLflow show nothing there either
def test_it_runs_in_a_notebook_and_leaves_the_cell_as_it_is(sample_folder, tmp_path, monkeypatch):
    """Neither cleared nor filled: what the cell prints is there, and nothing that a library displays."""
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "tiny.yaml").write_text(SPACE)
    cell = nbformat.v4.new_code_cell(NOTEBOOK.replace("DATA", repr(str(sample_folder))))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    assert {output.output_type for output in outputs} == {"stream"}
    printed = "".join(output.text for output in outputs if output.name == "stdout")
    assert printed == "before\n['finished', 'finished'] SavedModel\n"


def test_what_ray_cannot_do_is_told_and_leaves_nothing(block, monkeypatch, tmp_path):
    """Whatever Ray's start raises: before anything is prepared or made."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 25)))
    (tmp_path / ("long" * 25)).mkdir()
    data = re.search(r"data='([^']+)'", block)[1]
    options = SearchOptions(data=data, space="tiny.yaml", name="none")
    with pytest.raises(Exception, match="Ray must start on this machine, but does not"):
        run_search(options)
    assert not (tmp_path / "results").exists()
