"""A model as a person names it -> its folder on this machine, or the model itself, ready to be asked.

NAME                                 a search: what it was promoted to, else its best model
NAME:TRIAL                           a trial of a search whose model was kept
models:/NAME@ALIAS, models:/NAME/3   a registered version
PATH                                 a saved model or ensemble
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_core.errors import SearchError
from fashion_core.escaping import show_value
from fashion_core.files import ENSEMBLE_FILE, MODEL_FILE
from fashion_core.hardware.device import choose_device
from fashion_core.inference.predictor import predict_images
from fashion_core.inference.temperatures import load_temperatures
from fashion_core.models.ensemble import SavedEnsemble, as_ensemble, load_saved
from search.cli import DEFAULT_RESULTS
from search.planning.options import SearchOptions
from search.records.best_config import read_best_config
from search.records.layout import NAME_PATTERN, FinalLayout, SearchLayout
from search.registry.versions import Registry, default_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from fashion_core.data.reading import Reading
    from fashion_core.inference.answers import Answer
    from fashion_core.models.ensemble import Saved
    from search.address import Address

SCHEME = "models:"
MODEL_URI = re.compile(r"models:/([^/@]+)(?:/(\d+)|@([^/@]+))")
TRIAL_PATTERN = re.compile(rf"({NAME_PATTERN.pattern}):(\d{{1,9}})")
CHECKPOINT_PREFIX = "trial-"  # of the folders that `SearchLayout.checkpoint_folder` names


@dataclass(frozen=True)
class Place:
    """Where a model lies that a person named.

    Attributes:
        path: its folder or file.
        what: what it is; "" where a path says no more than itself.
        picked: what of it its search or promotion picked by scores.
        search: that it comes from; None where it does not say so.
        is_final: whether the folder is that of a promoted model.
    """

    path: Path
    what: str = ""
    picked: str = ""
    search: SearchLayout | None = None
    is_final: bool = False


@dataclass(frozen=True)
class Model:
    """A saved model, ready to be asked.

    Attributes:
        name: as it was typed.
        temperatures: K, applied to its probabilities; None: these are as they are.
    """

    name: str
    place: Place
    saved: Saved
    temperatures: tuple[float, ...] | None

    def predict(self, images: Sequence[Path], box: Any = None, *, min_confidence: float | None = None) -> list[Answer]:
        """What it says of image files, in order.

        Args:
            images: their paths.
            box: to look at, x1, y1, x2, y2 in pixels, the same for all, in a form that
                `fashion_core.inference.predictor.read_box` reads; None for the whole image.
            min_confidence: a class less likely than this is called `unsure`; None names always the likeliest.

        Raises:
            ConfigError: the smallest confidence is none.
            DataError: lists every image that cannot be read or does not hold the box.
        """
        return list(predict_images(self.saved, images, box, self.temperatures, min_confidence))

    @property
    def words(self) -> str:
        """What it is: its networks and how large they see an image; of a single one the epoch."""
        members = as_ensemble(self.saved).members
        names = [f"{member.config.backbone} at {member.config.image_size} px" for member in members]
        if isinstance(self.saved, SavedEnsemble):
            text = f"ensemble of {len(names)} ({', '.join(dict.fromkeys(names))})"
        else:
            text = f"{names[0]}, epoch {self.saved.epoch}"
        return f"{self.place.what}: {text}" if self.place.what else text

    @property
    def reading(self) -> Reading | None:
        """How the search that it comes from read its data set; None where it comes from none."""
        search, options = self.place.search, self.options
        return None if search is None or options is None else options.build_reading(search)

    @property
    def options(self) -> SearchOptions | None:
        """What its search was started with."""
        search = self.place.search
        return None if search is None or not search.options.is_file() else SearchOptions.load(search.options)

    @property
    def final(self) -> FinalLayout | None:
        """The folder of a promoted model; None where it is none."""
        return FinalLayout(self.place.path) if self.place.is_final else None


def open_model(
    name: str,
    *,
    results: Path = DEFAULT_RESULTS,
    tracking_uri: Address | str | None = None,
    device: torch.device | str | None = None,
) -> Model:
    """The model that a person named, with its temperatures.

    Args:
        name: see the top of this file.
        results: folder of all searches.
        tracking_uri: of the registry; None: SQLite under the results.
        device: that it answers on; None: a GPU where there is one.

    Raises:
        SearchError: there is no such search, version or path, or it has no model; the registry cannot be reached.
        CheckpointError: the model cannot be read.
    """
    place = find_place(name, results, tracking_uri)
    saved = load_saved(place.path, choose_device(None) if device is None else device)
    return Model(name, place, saved, load_temperatures(place.path, saved.schema))


def find_model(name: str, results: Path, tracking_uri: Address | str | None) -> Path:
    """The folder or file of the model that a person named: see `open_model`."""
    return find_place(name, results, tracking_uri).path


def find_place(name: str, results: Path, tracking_uri: Address | str | None) -> Place:
    """Where the model lies that a person named. A search goes before a path of the same name.

    Raises:
        SearchError: see `open_model`.
    """
    if name.startswith(SCHEME):
        return find_registered(name, results, tracking_uri)
    known = sorted(path.parent.name for path in results.glob("*/ledger.jsonl"))
    match = TRIAL_PATTERN.fullmatch(name)
    if match and match[1] in known:
        return find_trial(name, SearchLayout(results, match[1]), int(match[2]))
    if name in known:
        return find_result(SearchLayout(results, name))
    path = Path(name)
    if not path.exists():
        raise SearchError(
            f"a model must be a search in {results}, NAME:TRIAL of one, models:/NAME@ALIAS, models:/NAME/VERSION, or "
            f"the path of a saved model, but got {show_value(name)}; searches are {', '.join(known) or 'none'}"
        )
    is_final = FinalLayout(path).trained_on.is_file()
    return find_final(path, "a promoted model") if is_final else Place(path)


def find_final(folder: Path, what: str, search: SearchLayout | None = None) -> Place:
    """The place of a promoted model."""
    return Place(folder, what, "it was picked among candidates", search, is_final=True)


def find_result(layout: SearchLayout) -> Place:
    """What a search was promoted to, else its best model."""
    if any((layout.final.folder / file).is_file() for file in (MODEL_FILE, ENSEMBLE_FILE)):
        return find_final(layout.final.folder, "what this search was promoted to", layout)
    if not layout.best_model.is_file():
        raise SearchError(
            f"a search can be asked once a trial of it has saved a model, but {layout.name} has none; go on with it by "
            f"search/run.py --resume {layout.name}, or name a trial whose model is kept: {list_kept(layout)}"
        )
    what = "the best of this search"
    if layout.best_config.is_file():
        what += f", trial {read_best_config(layout).trial}"
    return Place(layout.best_folder, what, "its trial and its epoch were picked", layout)


def find_trial(name: str, layout: SearchLayout, trial: int) -> Place:
    """The model that a search kept of one trial."""
    if layout.find_checkpoint(trial) is None:
        raise SearchError(
            f"a trial can be asked where its model was kept, but {name} has none; those that have one are "
            f"{list_kept(layout)}"
        )
    return Place(layout.checkpoint_folder(trial), "one trial", "its epoch was picked, and the trial kept,", layout)


def list_kept(layout: SearchLayout) -> str:
    """`demo:1, demo:3`, or `none`."""
    folders = layout.checkpoint_folder(0).parent.glob(f"{CHECKPOINT_PREFIX}*/{MODEL_FILE}")
    numbers = sorted(int(path.parent.name.removeprefix(CHECKPOINT_PREFIX)) for path in folders)
    return ", ".join(f"{layout.name}:{number}" for number in numbers) or "none"


def find_registered(text: str, results: Path, tracking_uri: Address | str | None) -> Place:
    """The local folder of a registered version."""
    match = MODEL_URI.fullmatch(text)
    if match is None:
        raise SearchError(
            f"a registered model is models:/NAME@ALIAS or models:/NAME/NUMBER, but got {show_value(text)}; "
            "for example models:/NAME@champion"
        )
    uri = tracking_uri or default_registry(results)
    registry = Registry(uri, match[1])
    version = registry.find(match[2] or match[3])
    if version is None:
        held = [f"{each.number}{''.join(f' @{alias}' for alias in each.aliases)}" for each in registry.list_versions()]
        raise SearchError(
            f"a registered version must be in the registry, but {text} is not in {registry.uri}, which has "
            f"{', '.join(held) or 'nothing'} of this model; promote a search, or name another registry by "
            "--tracking-uri or --results"
        )
    return find_final(registry.download(version), "a registered version")
