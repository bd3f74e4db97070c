"""Versions of promoted models in MLflow's registry, and which of them is the champion.

A version holds the whole folder `final` and the code that answers with it. Alias `champion` is the version in use,
`previous` the one before it; a tag of each version names its predecessor, so that one can go back further still.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from fashion_core.data.spreadsheet import TABLE_ENDINGS
from fashion_core.errors import SearchError
from fashion_core.files import check_form, parse_json
from search.address import Address
from search.cli import DEFAULT_RESULTS
from search.records.layout import FinalLayout, SearchLayout
from search.registry.access import find_or_none, open_registry, tell_errors
from search.registry.lock import Check, lock_by_tag, lock_file
from search.tracking.store import default_uri, import_mlflow, take_head

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.tracking import MlflowClient

KEY_TAG = "promotion_key"  # of a version: names the promotion and its options
JUDGED_TAG = "judged_against"  # of a version: its opponent, in words
SCORE_TAG, INTERVAL_TAG = "score", "score_interval"  # of a version: its score; ends of the 95% interval
CHAMPION, PREVIOUS = "champion", "previous"
PROMOTION_TAG, PREDECESSOR_TAG = "promotion", "predecessor"
CHAMPION_TAG = "champion."  # of a registered model, and a number: who became champion, when and how, as `Crowning`
BY_PROMOTION, BY_ROLLBACK, BY_COPY = "promoted", "rolled back", "copied"
DESCRIPTION = (
    "Attributes of images: one class in each category, with its probability. `champion` is the "
    "version to use, `previous` the one before it. Versions come from search/promote.py."
)


@dataclass(frozen=True)
class Version:
    """A registered version of a model.

    Attributes:
        run_id: MLflow run that it comes from.
        aliases: those it has now.
        created: unix seconds.
    """

    name: str
    number: int
    run_id: str
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    created: float = 0.0

    @property
    def uri(self) -> str:
        """What MLflow and `search.predict` call it."""
        return f"models:/{self.name}/{self.number}"

    @property
    def predecessor(self) -> int | None:
        """Number of the champion before it; None where it was the first, or never was one."""
        number = self.tags.get(PREDECESSOR_TAG, "")
        return int(number) if number.isdigit() else None


class Crowning(BaseModel):
    """That a version became the champion.

    Attributes:
        time: unix seconds.
        how: one of `BY_PROMOTION`, `BY_ROLLBACK`, `BY_COPY`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int
    time: float
    how: str


class Registry:
    """The versions of one model.

    Every method raises SearchError where the registry cannot be reached, within seconds.

    Args:
        uri: of MLflow's server or database.
        model: name of the registered model.
    """

    def __init__(self, uri: Address | str, model: str) -> None:
        """Nothing is asked before a method is called."""
        self.uri, self.model = Address.of(uri), model
        self.client: MlflowClient | None = None

    # ------------------------------------------------------------------------------------------------------- reading

    def find(self, which: str | int) -> Version | None:
        """The version of this alias or number; None where there is none."""
        with tell_errors(self.uri):
            if (model := self.read_model()) is None:
                return None
            number = which if str(which).isdigit() else model.aliases.get(str(which))
            return None if number is None else self.read_version(int(number), model)

    def list_versions(self) -> list[Version]:
        """All versions, oldest first."""
        with tell_errors(self.uri):
            if (model := self.read_model()) is None:
                return []
            found: list[ModelVersion] = []
            token = None
            while True:
                page = self.connect().search_model_versions(f"name = '{self.model}'", page_token=token)
                found += page
                if not (token := page.token):
                    return sorted((build_version(each, model) for each in found), key=lambda each: each.number)

    def list_crownings(self) -> list[Crowning]:
        """Who became champion, the first one first; those of before this was written down are not among them."""
        with tell_errors(self.uri):
            model = self.read_model()
            return [] if model is None else read_crownings(model)

    def download(self, version: Version) -> Path:
        """A local folder with the version's `final`, which `load_saved` reads. Leave it as it is.

        It is MLflow's own where that lies on this machine, else a copy that goes when this process ends.
        """
        from search.registry.served_model import FINAL

        return self.download_part(version, f"/artifacts/{FINAL}")

    def download_part(self, version: Version, part: str = "") -> Path:
        """The same of another part of a version's files; of all, where none is named."""
        with tell_errors(self.uri):
            source = self.connect().get_model_version_download_uri(version.name, str(version.number))
            return fetch(f"{source}{part}", self.uri)

    # ------------------------------------------------------------------------------------------------------- writing

    def register(
        self, final: Path, *, run_id: str, promotion_id: str, tags: Mapping[str, Any], example_image: bytes
    ) -> Version:
        """Keep a promoted model as a new version; the version that is there, if this promotion has registered one.

        A version appears whole, with its tags, in one step, after all its files are stored. A registration that was cut
        off before goes on with the files' place of the first one.

        Args:
            final: folder of the promoted model, named `final`.
            run_id: MLflow run that shows the model among its outputs.
            promotion_id: the same for every call that means this model.
            tags: of the version.
            example_image: bytes of an image's file, kept as the example of an input.

        Raises:
            CheckpointError: the folder holds no saved model.
        """
        from search.registry.serving import store_served, tell_version

        with tell_errors(self.uri):
            if (found := self.find_promotion(promotion_id)) is not None:
                return found
            self.create_model()
            own = {PROMOTION_TAG: promotion_id}
            logged = store_served(self.connect(), self.model, final, run_id, own, example_image)
            with self.hold_lock():
                if (found := self.find_promotion(promotion_id)) is not None:
                    return found
                texts = {name: str(value) for name, value in tags.items() if value is not None}
                created = self.connect().create_model_version(
                    self.model,
                    logged.artifact_location,  # not by its id, which MLflow looks up in another, global, store
                    run_id,
                    texts | own,
                    description=take_head(
                        FinalLayout(final).card.read_text(encoding="utf-8", errors="replace"), "\n## Data"
                    ),
                    model_id=logged.model_id,
                )
                tell_version(self.connect(), logged, self.model, created.version)
                return build_version(created, self.read_model())

    def promote(self, version: Version, expected: Version | None, tags: Mapping[str, Any]) -> None:
        """Make a version the champion, and the champion `previous`. Calling it again finishes what was cut off.

        Args:
            expected: the champion that the version was judged against; None for none.
            tags: put on the version, such as what the judgement was.

        Raises:
            SearchError: the champion is another one by now.
        """
        with tell_errors(self.uri), self.hold_lock() as check:
            champion = self.find(CHAMPION)
            if champion is None or champion.number != version.number:
                if (champion and champion.number) != (expected and expected.number):
                    raise SearchError(
                        f"a version takes the place of the champion it was judged against, but version "
                        f"{version.number} of {self.model} was judged against {describe(expected)}, and now it is "
                        f"{describe(champion)}; run promote again: it is judged against that one"
                    )
                self.set_tags(version, {**tags, PREDECESSOR_TAG: champion.number if champion else "none"})
                predecessor = champion
            else:  # cut off after the alias, or repeated
                self.set_tags(version, tags)
                predecessor = self.find(PREVIOUS) or self.find_predecessor(champion)
            check()
            self.point(version, predecessor, BY_PROMOTION)

    def rollback(self) -> tuple[Version, Version | None]:
        """Make `previous` the champion again, and its own predecessor `previous`. Returns the two as they are then.

        Unlike `promote`, calling it again goes back one further, also after a kill.

        Raises:
            SearchError: there is no champion, or none before it.
        """
        with tell_errors(self.uri):
            if self.find(CHAMPION) is None:
                raise SearchError(
                    f"a rollback needs a champion, but {self.model} has none in {self.uri}; promote a search"
                )
            with self.hold_lock() as check:
                champion = self.find(CHAMPION)
                assert champion is not None  # nothing here takes a champion away
                previous = self.find(PREVIOUS) or self.find_predecessor(champion)
                if previous is None:
                    raise SearchError(
                        f"a rollback needs a champion before this one, but {self.model} has none before "
                        f"{describe(champion)}; promote another search"
                    )
                check()
                self.point(previous, self.find_predecessor(previous), BY_ROLLBACK)
                self.connect().delete_model_version_tag(self.model, str(champion.number), PREDECESSOR_TAG)
                return self.find(previous.number) or previous, self.find(PREVIOUS)

    # ---------------------------------------------------------------------------------------------------- their steps

    def crown(self, version: Version) -> None:
        """Make a version that was copied here the champion of a model that has none.

        Raises:
            SearchError: there is one.
        """
        with tell_errors(self.uri), self.hold_lock() as check:
            champion = self.find(CHAMPION)
            if champion is not None and champion.number != version.number:
                raise SearchError(
                    f"a copy becomes champion where there is none, but {self.model} in {self.uri} has "
                    f"{describe(champion)}; promote a search there, which judges it against that one"
                )
            check()
            self.point(version, None, BY_COPY)

    def point(self, champion: Version, previous: Version | None, how: str) -> None:
        """Set the aliases, and write down who became champion. What is so already stays, and no webhook is sent.

        There is a champion all the while, and `previous` is absent rather than wrong in between.
        """
        client, model = self.connect(), self.connect().get_registered_model(self.model)
        wanted = {CHAMPION: champion.number} | ({} if previous is None else {PREVIOUS: previous.number})
        known = {alias: int(model.aliases[alias]) for alias in (CHAMPION, PREVIOUS) if alias in model.aliases}
        if known != wanted:
            if PREVIOUS in known:
                client.delete_registered_model_alias(self.model, PREVIOUS)
            for alias, number in wanted.items():
                if alias == PREVIOUS or known.get(alias) != number:
                    client.set_registered_model_alias(self.model, alias, str(number))
        crownings = read_crownings(model)
        if not crownings or crownings[-1].version != champion.number:
            told = Crowning(version=champion.number, time=time.time(), how=how)
            name = f"{CHAMPION_TAG}{len(crownings) + 1:06d}"
            client.set_registered_model_tag(self.model, name, told.model_dump_json())

    def set_tags(self, version: Version, tags: Mapping[str, Any]) -> None:
        """Put tags on a version; None is no tag."""
        for name, value in tags.items():
            if value is not None:
                self.connect().set_model_version_tag(self.model, str(version.number), name, str(value))

    def find_predecessor(self, version: Version) -> Version | None:
        """The champion before a version; None where it is unknown or was deleted."""
        return None if version.predecessor is None else self.find(version.predecessor)

    def find_promotion(self, promotion_id: str) -> Version | None:
        """The version that a promotion registered; None where it has not."""
        return next((each for each in self.list_versions() if each.tags.get(PROMOTION_TAG) == promotion_id), None)

    def create_model(self) -> None:
        """Make the registered model, if there is none."""
        import_mlflow()
        from mlflow.exceptions import MlflowException

        try:
            self.connect().create_registered_model(self.model, description=DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def read_model(self) -> RegisteredModel | None:
        """The registered model with its aliases; None where there is none."""
        if (file := self.uri.file) is not None and not file.exists():
            return None  # reading must not make a database
        return find_or_none(lambda: self.connect().get_registered_model(self.model))

    def read_version(self, number: int, model: RegisteredModel) -> Version | None:
        """One version; None where there is none of this number."""
        found = find_or_none(lambda: self.connect().get_model_version(self.model, str(number)))
        return None if found is None else build_version(found, model)

    def connect(self) -> MlflowClient:
        """The client, opened when it is first asked for."""
        if self.client is None:
            self.client = open_registry(self.uri)
        return self.client

    def hold_lock(self) -> AbstractContextManager[Check]:
        """The right to change the aliases: see `search.registry.lock`."""
        if (file := self.uri.file) is not None:
            return lock_file(file.with_name(f"{file.name}.lock"))
        return lock_by_tag(self.connect(), self.model)


def rollback(
    model: str | None = None, *, results: Path = DEFAULT_RESULTS, tracking_uri: Address | str | None = None
) -> tuple[Version, Version | None]:
    """Make the previous champion of a model the champion again: see `Registry.rollback`.

    Args:
        model: its name in the registry; None: the only one that is there.
        results: folder of all searches.
        tracking_uri: of the registry; None: SQLite under the results.

    Raises:
        SearchError: none is named, and there are several, or none.
    """
    uri = Address.of(tracking_uri or default_registry(results))
    return Registry(uri, model or find_only_model(uri)).rollback()


def name_model(data: Path) -> str:
    """What the models of a data set are called unless something else is said: as its folder, or a table's folder and
    name, since several tables may stand in one. A registry takes no `/` and `:` in a name, and an address of a model no
    `@`, blank or quote.
    """
    data = data.resolve()
    parts = [data.parent.name, data.stem] if data.suffix.lower() in TABLE_ENDINGS else [data.name]
    return re.sub(r"[^\w.-]+", "-", "-".join(part for part in parts if part)).strip("-.") or "model"


def list_models(uri: Address) -> list[str]:
    """Names of the models in a registry that have a champion, in order."""
    if uri.file is not None and not uri.file.exists():
        return []  # reading must not make a database
    with tell_errors(uri):
        client, names, token = open_registry(uri), [], None
        while True:
            page = client.search_registered_models(page_token=token)
            names += [model.name for model in page if CHAMPION in model.aliases]
            if not (token := page.token):
                return sorted(names)


def find_only_model(uri: Address) -> str:
    """The name of the only model with a champion.

    Raises:
        SearchError: there are several, or none.
    """
    names = list_models(uri)
    if len(names) != 1:
        raise SearchError(
            f"the model must be named where the registry has not exactly one with a champion, but "
            f"{uri} has {', '.join(names) or 'none'}; " + ("name one with --model" if names else "promote a search")
        )
    return names[0]


def read_crownings(model: RegisteredModel) -> list[Crowning]:
    """Who became champion, as a registered model's tags tell; a tag that somebody else wrote is left out."""
    found = []
    for name, text in sorted(model.tags.items()):
        if name.startswith(CHAMPION_TAG):
            try:
                found.append(check_form(parse_json(text), Crowning))
            except ValueError:
                continue
    return found


def fetch(source: str, uri: Address) -> Path:
    """A local folder with what stands at an address of MLflow: its own where that lies on this machine, else a copy
    that goes when this process ends.
    """
    import_mlflow()
    import mlflow.artifacts

    copy = None
    if urlsplit(source).scheme not in ("", "file"):
        copy = tempfile.mkdtemp(prefix="fashion-")
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
    whole = uri.reveal()
    return Path(mlflow.artifacts.download_artifacts(source, dst_path=copy, tracking_uri=whole, registry_uri=whole))


def build_version(found: ModelVersion, model: RegisteredModel | None) -> Version:
    """A version as MLflow tells it, with the aliases that its model tells."""
    aliases = model.aliases if model is not None else {}
    number = int(found.version)
    names = tuple(sorted(alias for alias, held in aliases.items() if int(held) == number))
    created = (found.creation_timestamp or 0) / 1000
    return Version(found.name, number, found.run_id or "", dict(found.tags), names, created)


def describe(version: Version | None) -> str:
    """Its number in words; `none` for none."""
    return "none" if version is None else f"version {version.number}"


def default_registry(results: Path) -> str:
    """SQLite under the results, where a search is tracked if nothing else is said."""
    return default_uri(SearchLayout(results, "any"))
