"""A search and a promotion on a data set whose names mean something to a terminal, to Markdown, formulas and MLflow."""

from itertools import pairwise

import pytest
from hostile_names import CATEGORIES, CLASSES, SPACE, rename_classes
from markdown_it import MarkdownIt
from mlflow.tracking import MlflowClient
from whole_commands import tell

from fashion_core.escaping import show_text
from search.records.layout import SearchLayout
from search.reporting.report import AGAINST

pytestmark = [pytest.mark.usefixtures("shared_ray"), pytest.mark.slow]


def read_documents(folder):
    """All inline text of a folder's Markdown files, as a reader sees it, its kinds of mark-up, what is emphasised."""
    texts, kinds, emphasised = [], set(), set()
    for path in folder.rglob("*.md"):
        for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(path.read_text()):
            children = token.children or []
            texts.append("".join(child.content for child in children))
            kinds |= {child.type for child in children}
            emphasised |= {after.content for child, after in pairwise(children) if child.type == "em_open"}
    return texts, kinds, emphasised


def test_a_search_and_a_promotion_show_names_as_they_are(tmp_path, sample_folder):
    data = rename_classes(sample_folder, tmp_path / "hostile")
    (tmp_path / "tiny.yaml").write_text(SPACE)
    told = tell(
        tmp_path, "run.py", "--data", data, "--space", tmp_path / "tiny.yaml", "--name", "odd", "--concurrent", 1
    )
    assert "does not take the search" not in told
    told += tell(tmp_path, "promote.py", "odd", "--top", 1, "--seeds", 1, "--baseline", "none", "--force")
    assert "is the champion" in told and "\x1b" not in told
    layout = SearchLayout(tmp_path / "results", "odd")
    texts, kinds, emphasised = read_documents(layout.folder)
    assert not kinds & {"html_inline", "link_open", "s_open"}
    assert emphasised <= {AGAINST, "ms an image"}
    for name in CATEGORIES:
        assert sum(text == name for text in texts) >= 3, name  # a cell of its own
        assert layout.confusion(name).is_file() and layout.final.confusion(name).is_file()
    assert all(show_text(name) in texts for name in CLASSES)
    client = MlflowClient(f"sqlite:///{layout.tracking_db}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert {run.info.status for run in runs} == {"FINISHED"}
    kinds = sorted(run.data.tags["kind"] for run in runs)
    assert kinds == ["judging images", "promotion", "rerun", "search", "trial", "trial"]
