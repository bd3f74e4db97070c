"""MLflow's database or server: made where there is none, its address without its password, its errors in words."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from made_search import make_search
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils
from small_disk import mount_disk

from fashion_core.errors import ConfigError, SearchError
from search.records.layout import SearchLayout
from search.tracking import store
from search.tracking.resending import resend
from search.tracking.store import (
    MAX_NOTE,
    default_uri,
    gather_statistics,
    open_store,
    take_head,
    tell_errors,
    ui_command,
)


@pytest.mark.slow
def test_a_database_is_made_with_its_folder(tmp_path):
    layout = SearchLayout(tmp_path / "results", "mine")
    client = open_store(default_uri(layout))
    assert layout.tracking_db.is_file() and client.tracking_uri == default_uri(layout)
    made = client.create_experiment("tiny")
    assert open_store(default_uri(layout)).get_experiment_by_name("tiny").experiment_id == made
    with closing(sqlite3.connect(layout.tracking_db)) as database:  # readers and the writer do not wait
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_relative_address_is_of_the_folder_one_works_in(tmp_path, empty_database, monkeypatch):
    """A notebook may go to another folder between two searches, whose addresses are then written the same."""
    uri = default_uri(SearchLayout(Path("results"), "mine"))
    for name in ("one", "other"):
        (tmp_path / name / "results").mkdir(parents=True)
        shutil.copy(empty_database, tmp_path / name / "results" / "mlflow.db")
        monkeypatch.chdir(tmp_path / name)
        open_store(uri).create_experiment(name)
    found = [each.name for each in open_store(uri).search_experiments()]
    assert "other" in found and "one" not in found


def test_sqlite_knows_its_tables_after_a_search(tmp_path, empty_database):
    """Only then does it take the index that pages sorted by a metric need."""
    layout = make_search(tmp_path, "mine")
    shutil.copy(empty_database, layout.tracking_db)
    resend(layout)
    with closing(sqlite3.connect(layout.tracking_db)) as database:
        known = {name for (name,) in database.execute("SELECT DISTINCT tbl FROM sqlite_stat1")}
    assert {"runs", "latest_metrics"} <= known


def test_a_locked_database_keeps_its_old_statistics(tmp_path, monkeypatch):
    path, uri = tmp_path / "some.db", f"sqlite:///{tmp_path}/some.db"
    count = "SELECT stat FROM sqlite_stat1 WHERE tbl = 'numbers'"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE numbers (n INTEGER)")
        database.execute("CREATE INDEX by_n ON numbers (n)")
        database.executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,)])
        database.commit()
        gather_statistics(uri)
        before = database.execute(count).fetchall()
        database.execute("INSERT INTO numbers VALUES (3)")
        database.commit()
    connect = sqlite3.connect
    monkeypatch.setattr(store.sqlite3, "connect", lambda path: connect(path, timeout=0))
    with closing(connect(path)) as database:
        database.execute("BEGIN IMMEDIATE")
        gather_statistics(uri)
        assert database.execute(count).fetchall() == before
        database.rollback()
        gather_statistics(uri)
        assert database.execute(count).fetchall() != before


def test_statistics_of_a_server_are_its_own():
    gather_statistics("http://127.0.0.1:1")  # nobody is asked


def test_errors_are_told_in_words_without_the_password():
    uri = "postgresql://me:secret@host/db"
    with pytest.raises(SearchError) as caught, tell_errors(uri):
        raise ConnectionError(f"could not connect to {uri}\nand more")
    told = str(caught.value)
    assert "postgresql://me:***@host/db does not (ConnectionError: could not connect to postgresql://me:***@" in told
    assert "secret" not in told and "and more" not in told
    assert caught.value.__cause__ is None and caught.value.__suppress_context__  # else a traceback would show it
    with pytest.raises(SearchError) as caught, tell_errors("sqlite:///x"):
        raise ConnectionError("away")
    assert isinstance(caught.value.__cause__, ConnectionError)


@pytest.mark.slow
@pytest.mark.parametrize("later_s", [0.0, 0.01])
def test_two_threads_that_need_mlflow_first_both_have_it(tmp_path, empty_database, later_s):
    """The sender's opens the database, while the main one looks for a champion."""
    file = tmp_path / "runs.db"
    shutil.copy(empty_database, file)
    program = f"""
import threading, time
from search.registry.access import find_or_none
from search.tracking.store import open_store
def open_it():
    open_store("sqlite:///{file}")
def find_it():
    time.sleep({later_s})
    find_or_none(open_it)
threads = [threading.Thread(target=each) for each in (open_it, find_it)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_database_that_fails_is_told_by_its_error_alone(tmp_path, empty_database, capfd):
    """MLflow logs a traceback of it as well, which would stand in a search that goes on."""
    file = tmp_path / "runs.db"
    shutil.copy(empty_database, file)
    client = open_store(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database:
        database.execute("DROP TABLE runs")
    with pytest.raises(MlflowException, match="no such table"):
        client.get_run("0" * 32)
    assert capfd.readouterr() == ("", "")


def test_errors_of_this_project_pass():
    with pytest.raises(ConfigError, match=r"^as it is$"), tell_errors("sqlite:///x"):
        raise ConfigError("as it is")
    with pytest.raises(KeyboardInterrupt), tell_errors("sqlite:///x"):
        raise KeyboardInterrupt


def test_no_database_at_all_is_told(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database " * 1000)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(SearchError, match="MLflow must be a server or database that answers"), tell_errors(uri):
        open_store(uri)


def test_a_reports_head_is_what_stands_between_title_and_heading():
    assert take_head("# Title\n\nBest score.\nAnd more.\n\n## Trials\n\n| a |\n") == "Best score.\nAnd more."
    assert take_head("# Title\n\n### Small\n\ntext\n\n## Trials\n") == "### Small\n\ntext"
    assert take_head("# Title\n\nA\n\n## B\n\nC\n\n## D", until="\n## D") == "A\n\n## B\n\nC"
    assert take_head("# Title") == "" and take_head("") == ""
    assert len(take_head("# Title\n" + "x" * 2 * MAX_NOTE)) == MAX_NOTE


def test_runs_are_looked_at_where_they_are(tmp_path):
    layout = SearchLayout(tmp_path, "mine")
    assert ui_command(layout, None).endswith(f"-m search ui mine --results {tmp_path}")
    assert ui_command(layout, "postgresql://host/db").endswith("--tracking-uri postgresql://host/db")
    assert ui_command(layout, "https://host", "7").startswith("https://host/#/experiments/7/runs?")


def test_where_runs_are_looked_at_has_no_password(tmp_path):
    for scheme in ("https", "postgresql"):
        told = ui_command(SearchLayout(tmp_path, "mine"), f"{scheme}://me:secret@host/db")
        assert f"{scheme}://me:***@host/db" in told and "secret" not in told


@pytest.mark.slow
@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
@pytest.mark.parametrize("name", ["moved", "a%20b ?#'"])
def test_results_that_moved_find_their_files_and_write_nothing_at_the_old_place(tmp_path, empty_database, move, name):
    old = make_search(tmp_path / "old", "mine")
    shutil.copy(empty_database, old.tracking_db)
    old.report.write_text("# One\n\nhello\n")
    resend(old)
    client = open_store(default_uri(old))
    (experiment,) = (each for each in client.search_experiments() if each.name != "Default")
    client.create_registered_model("some")
    client.create_model_version("some", f"{experiment.artifact_location}/models/m/artifacts")
    move(old.results, tmp_path / name)
    utils._artifact_repos_cache.clear()  # as in a new process: MLflow keeps a run's place
    kept = sorted(path for path in old.results.rglob("*") if path.parent.parent != old.results)
    layout = SearchLayout(tmp_path / name, "mine")
    layout.report.write_text("# Two\n\nnew\n")
    resend(layout)
    client, here = open_store(default_uri(layout)), layout.artifacts.resolve().as_uri()
    assert client.get_experiment(experiment.experiment_id).artifact_location == f"{here}/{experiment.name}"
    runs = client.search_runs([experiment.experiment_id])
    assert runs and all(run.info.artifact_uri.startswith(f"{here}/") for run in runs)
    parent = next(run for run in runs if run.data.tags["kind"] == "search")
    assert Path(client.download_artifacts(parent.info.run_id, "README.md")).read_text() == "# Two\n\nnew\n"
    assert client.get_model_version("some", "1").source == f"{here}/{experiment.name}/models/m/artifacts"
    assert kept == sorted(path for path in old.results.rglob("*") if path.parent.parent != old.results)


def test_an_experiment_of_other_results_stays_where_it_is(tmp_path, empty_database):
    """Two folders of results may be tracked in the database of one."""
    one, other = make_search(tmp_path / "one", "mine"), make_search(tmp_path / "other", "yours")
    shutil.copy(empty_database, one.tracking_db)
    resend(other, default_uri(one))
    one.artifacts.mkdir()
    open_store(default_uri(one))
    found = [each.artifact_location for each in open_store(default_uri(one)).search_experiments()]
    assert any(place.startswith(other.artifacts.resolve().as_uri()) for place in found)


def test_on_a_full_disk_room_is_what_helps(tmp_path):
    with mount_disk(tmp_path / "small", 1.5) as disk:
        uri = f"sqlite:///{disk.folder}/mlflow.db"
        disk.fill()
        with pytest.raises(SearchError, match=f"the disk of {disk.folder} is full: free 1 MB"), tell_errors(uri):
            raise OSError("disk I/O error")  # as SQLite calls it, where it only reads
        disk.free()
        with pytest.raises(SearchError, match="see that it runs"), tell_errors(uri):
            raise OSError("disk I/O error")
