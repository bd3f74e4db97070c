"""Every path of a search, in one class."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from fashion_core.errors import SearchError
from fashion_core.escaping import name_file, show_value
from fashion_core.files import MODEL_FILE

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = ".locks"  # folder of the locks of all searches, under the results
ATTEMPTS = ".attempts"  # tries on judging images, of all searches beside it
IMAGES = ".images"  # folder of images that travel to nodes, beside the searches of a storage
ARTIFACTS = "mlartifacts"  # folder of MLflow's files under the results
REPORT = "README.md"  # of a search
PROMOTION_REPORT = "PROMOTION.md"
REGISTERED = "models:/"  # begins the name of a registered model
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True)
class SearchLayout:
    """Where the files of the search `name` stand under the folder `results`.

    Raises:
        SearchError: the name cannot be a folder's on every system.
    """

    results: Path
    name: str

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise SearchError(
                "a search's name must be 1 to 80 letters, digits, `.`, `_` or `-` and begin with a letter or digit, "
                f"but got {show_value(self.name)}"
            )
        if self.folder in (self.tracking_db, self.artifacts):
            raise SearchError(
                f"a search's name must not be that of MLflow's files, but got {show_value(self.name)}; give another"
            )

    # shared by all searches
    @property
    def prepared_folder(self) -> Path:
        """Prepared images, of all searches."""
        return self.results / ".prepared"

    @property
    def splits_folder(self) -> Path:
        """Splits of tables that have none of their own, of all searches: see `fashion_core.data.dealing`."""
        return self.results / ".splits"

    @property
    def attempts_folder(self) -> Path:
        """Tries on judging images, of all searches: see `search.records.attempts`."""
        return self.results / ATTEMPTS

    @property
    def lock(self) -> Path:
        """Held by who works on this search: see `search.records.locks`."""
        return self.results / LOCKS / f"{self.name}.lock"

    @property
    def stop_request(self) -> Path:
        """Asks who runs this search to stop: see `search.records.requests`."""
        return self.results / LOCKS / f"{self.name}.stop"

    @property
    def tracking_db(self) -> Path:
        """MLflow's database, of all searches."""
        return self.results / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's files, of all searches."""
        return self.results / ARTIFACTS

    # of this search
    @property
    def folder(self) -> Path:
        """Everything of this search."""
        return self.results / self.name

    @property
    def options(self) -> Path:
        """What the search was started with."""
        return self.folder / "options.json"

    @property
    def ledger(self) -> Path:
        """The record of all that happened."""
        return self.folder / "ledger.jsonl"

    @property
    def space_yaml(self) -> Path:
        """The space, as it ran."""
        return self.folder / "space.yaml"

    @property
    def audit(self) -> Path:
        """What the data holds: see `fashion_core.audit`."""
        return self.folder / "audit.md"

    @property
    def audit_facts(self) -> Path:
        """Its numbers: see `search.reporting.audited`."""
        return self.folder / "audit.json"

    @property
    def label_errors(self) -> Path:
        """Labels that look wrong: see `search.reporting.mislabelled`."""
        return self.folder / "label_errors.json"

    @property
    def label_errors_csv(self) -> Path:
        """The same as a table."""
        return self.folder / "label_errors.csv"

    @property
    def trials_csv(self) -> Path:
        """A row a trial."""
        return self.folder / "trials.csv"

    @property
    def trials_parquet(self) -> Path:
        """The same, each column of one type."""
        return self.folder / "trials.parquet"

    @property
    def page(self) -> Path:
        """What people open of it: the report as one file for a browser."""
        return self.folder / "report.html"

    @property
    def photographs_page(self) -> Path:
        """The same with photographs of the data set, which are not everybody's to pass on."""
        return self.folder / "report-photographs.html"

    @property
    def confusions(self) -> Path:
        """What the best trial's model took for what, by category: see `search.reporting.won`."""
        return self.folder / "confusion.json"

    @property
    def curves(self) -> Path:
        """A row an epoch: see `search.reporting.curves`."""
        return self.folder / "curves.parquet"

    @property
    def report(self) -> Path:
        """What people read of it."""
        return self.folder / REPORT

    @property
    def effects(self) -> Path:
        """Which parameters mattered: see `search.effects`."""
        return self.folder / "EFFECTS.md"

    @property
    def best_config(self) -> Path:
        """The best trial and its configuration."""
        return self.folder / "best_config.json"

    @property
    def best_folder(self) -> Path:
        """Where the best model stands."""
        return self.folder / "best"

    @property
    def best_model(self) -> Path:
        """Its file."""
        return self.best_folder / MODEL_FILE

    @property
    def final(self) -> FinalLayout:
        """The promoted model."""
        return FinalLayout(self.folder / "final")

    @property
    def starts(self) -> Path:
        """Registered models that its networks start from, each in a folder of its own."""
        return self.folder / "starts"

    def start_folder(self, weights: str) -> Path:
        """Of one of them. weights: models:/NAME@ALIAS or models:/NAME/VERSION."""
        return self.starts / quote(weights.removeprefix(REGISTERED), safe="@")

    def list_starts(self) -> dict[str, str]:
        """Those that are there, as weights name them -> the folder."""
        return {f"{REGISTERED}{unquote(path.name)}": str(path.resolve()) for path in sorted(self.starts.glob("*"))}

    @property
    def promotion_folder(self) -> Path:
        """What promoting has done so far, with the networks trained again."""
        return self.folder / "promotion"

    @property
    def promotion_attempts(self) -> Path:
        """Its attempts of promotion, each in a folder named by its number."""
        return self.promotion_folder / "attempts"

    def attempt(self, number: int) -> AttemptLayout:
        """The folder of one of them."""
        return AttemptLayout(self.promotion_attempts / str(number))

    @property
    def promotion_report(self) -> Path:
        """What people read of its promotion: of the attempt whose model stands in `final`."""
        return self.folder / PROMOTION_REPORT

    @property
    def states(self) -> Path:
        """What running trials can go on from, where no other storage is given: see `search.tune.storage`."""
        return self.folder / "states"

    @property
    def finished_stopped(self) -> Path:
        """Stopped trials that were trained to their end: see `search.experiment.stopped`."""
        return self.folder / "finished_stopped"

    @property
    def finished_trials(self) -> Path:
        """What came of these."""
        return self.finished_stopped / "finished.json"

    def confusion(self, category: str) -> Path:
        """Picture of the best trial's confusion matrix of one category."""
        return self.folder / f"confusion_{name_file(category)}.png"

    def list_artifacts(self) -> list[Path]:
        """The files that are kept with the search's run in MLflow, those that exist."""
        files = [
            self.report,
            self.page,
            self.promotion_report,  # the page leads to it
            self.trials_csv,
            self.trials_parquet,
            self.curves,
            self.audit,
            self.label_errors_csv,
            self.best_config,
            *sorted(self.folder.glob("*.png")),
        ]
        return [path for path in files if path.is_file()]

    @property
    def checkpoints(self) -> Path:
        """The models that are kept."""
        return self.folder / "checkpoints"

    def checkpoint_folder(self, trial: int) -> Path:
        """Where the model of one trial is kept."""
        return self.checkpoints / f"trial-{trial:04d}"

    def find_checkpoint(self, trial: int) -> str | None:
        """That folder, relative to the search's; None where no model of the trial is kept."""
        folder = self.checkpoint_folder(trial)
        return str(folder.relative_to(self.folder)) if (folder / MODEL_FILE).is_file() else None


@dataclass(frozen=True)
class AttemptLayout:
    """Where the files of one attempt of promotion stand in its folder."""

    folder: Path

    @property
    def state(self) -> Path:
        """When it began and how it ended: see `search.promotion.attempt_state`."""
        return self.folder / "attempt.json"

    @property
    def report(self) -> Path:
        """What people read of it."""
        return self.folder / PROMOTION_REPORT

    @property
    def result(self) -> Path:
        """The same for programs, with what the gate said."""
        return self.folder / "result.json"

    @property
    def coverage(self) -> Path:
        """The report's picture."""
        return self.folder / "coverage.png"

    @property
    def final(self) -> FinalLayout:
        """Its model, where that did not take the place of the search's promoted model."""
        return FinalLayout(self.folder / "final")


@dataclass(frozen=True)
class FinalLayout:
    """Where the files of a promoted model stand in its folder. The model: `fashion_core.models.ensemble.load_saved`."""

    folder: Path

    @property
    def config(self) -> Path:
        """How it was trained: of every member, with its share."""
        return self.folder / "config.json"

    @property
    def attributes(self) -> Path:
        """Its categories and classes."""
        return self.folder / "attributes.json"

    @property
    def preprocessing(self) -> Path:
        """How its images are prepared."""
        return self.folder / "preprocessing.json"

    @property
    def temperatures(self) -> Path:
        """What makes its probabilities right, by category: see `search.statistics.calibration`."""
        return self.folder / "temperatures.json"

    @property
    def trained_on(self) -> Path:
        """Digests of the files of all images it was trained on."""
        return self.folder / "trained_on.json"

    @property
    def answers(self) -> Path:
        """What it answered to the images it was judged on, each from a choice made without that image."""
        return self.folder / "answers.npz"

    @property
    def predictions(self) -> Path:
        """What every network that was trained again answered to these images, in the same order."""
        return self.folder / "reruns.npz"

    @property
    def onnx(self) -> Path:
        """The model for ONNX Runtime."""
        return self.folder / "model.onnx"

    @property
    def card(self) -> Path:
        """What people read of the model."""
        return self.folder / "MODEL_CARD.md"

    @property
    def coverage(self) -> Path:
        """Picture of the accuracy against the share that is answered."""
        return self.folder / "coverage.png"

    def confusion(self, category: str) -> Path:
        """Picture of the confusion matrix of one category."""
        return self.folder / f"confusion_{name_file(category)}.png"


def unique_name(results: Path, space_name: str, now: float) -> str:
    """`<space>-<date>-<time>`, with a number where a search of that name exists."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", space_name).lstrip("._-")[:50] or "search"
    name = f"{plain}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}"
    number = 1
    while True:
        candidate = SearchLayout(results, name if number == 1 else f"{name}-{number}")
        if not (candidate.folder.exists() or candidate.lock.exists()):  # the lock: of one that begins at this moment
            return candidate.name
        number += 1
