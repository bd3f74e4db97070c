"""Models to compare, as a person names them: what each is, which images it was trained on, and which ones chose it.

    NAME                                 a search: what it was promoted to, else its best model
    NAME:TRIAL                           a trial of a search whose model was kept
    models:/NAME@ALIAS, models:/NAME/3   a registered version
    PATH                                 a saved model or ensemble

Images are known by the digests of their files, so that one is found again under another name and in another folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fashion_core.data.annotations import load_annotations
from fashion_core.data.fingerprints import compute_digest
from fashion_core.data.prepared import PreparedData
from fashion_core.errors import SearchError
from fashion_core.files import ENSEMBLE_FILE, MODEL_FILE
from fashion_core.inference.temperatures import load_temperatures
from fashion_core.models.ensemble import Saved, SavedEnsemble, as_ensemble, load_saved
from search.planning.options import SearchOptions
from search.records.layout import NAME_PATTERN, FinalLayout, SearchLayout
from search.records.ledger import read_events
from search.records.record import replay
from search.registry.resolve import SCHEME, find_model

TRIAL_PATTERN = re.compile(rf"({NAME_PATTERN.pattern}):(\d{{1,9}})")
CHECKPOINT_PREFIX = "trial-"  # of the folders that `SearchLayout.checkpoint_folder` names
READERS = 8  # threads: reading images is mostly waiting
UNKNOWN = "it is not known what it was trained on, so nobody can say whether it has seen the images it is judged on:"


@dataclass(frozen=True)
class Subject:
    """A model to compare.

    Attributes:
        name: as it was typed.
        words: what it is.
        temperatures: K, applied to its probabilities; None: these are as they are.
        picked: what of it its search or promotion picked by scores.
        search: that it comes from; None where it does not say so.
        final: the folder of a promoted model; None where it is none.
    """

    name: str
    words: str
    saved: Saved
    temperatures: tuple[float, ...] | None
    picked: str = ""
    search: SearchLayout | None = None
    final: FinalLayout | None = None

    @property
    def options(self) -> SearchOptions | None:
        """What its search was started with."""
        return None if self.search is None else SearchOptions.load(self.search.options)


@dataclass(frozen=True)
class History:
    """What a model has seen of images, by digest.

    Attributes:
        trained_on: None where nobody wrote it down.
        picked_on: images whose scores picked it; empty where none are known.
        remark: what a reader must know of this, or "".
    """

    trained_on: frozenset[str] | None
    picked_on: frozenset[str] = frozenset()
    remark: str = ""


# ------------------------------------------------------------------------------------------------------- what they are


def open_subject(name: str, results: Path, tracking_uri: str | None, device: torch.device | str = "cpu") -> Subject:
    """The model that a person named. A search goes before a path of the same name.

    Args:
        results: folder of all searches.
        tracking_uri: of the registry; None: SQLite under the results.

    Raises:
        SearchError: there is no such search, version or path, or it has no model.
        CheckpointError: the model cannot be read.
    """
    if name.startswith(SCHEME):
        final = FinalLayout(find_model(name, results, tracking_uri))
        return open_final(name, "a registered version", final, device)
    known = sorted(path.parent.name for path in results.glob("*/options.json"))
    match = TRIAL_PATTERN.fullmatch(name)
    if match and match[1] in known:
        return open_trial(name, SearchLayout(results, match[1]), int(match[2]), device)
    if name in known:
        return open_result(SearchLayout(results, name), device)
    if not Path(name).exists():
        raise SearchError(
            f"a model to compare must be a search in {results}, NAME:TRIAL of one, models:/NAME@ALIAS, "
            f"models:/NAME/VERSION, or the path of a saved model, but got {name!r}; searches are "
            f"{', '.join(known) or 'none'}"
        )
    final = FinalLayout(Path(name))
    if final.trained_on.is_file():
        return open_final(name, "a promoted model", final, device)
    saved, temperatures = open_saved(Path(name), device)
    return Subject(name, describe_saved(saved), saved, temperatures)


def open_saved(path: Path, device: torch.device | str) -> tuple[Saved, tuple[float, ...] | None]:
    """A model and the temperatures beside it."""
    saved = load_saved(path, device)
    return saved, load_temperatures(path, saved.schema)


def open_final(
    name: str, what: str, final: FinalLayout, device: torch.device | str, search: SearchLayout | None = None
) -> Subject:
    """A promoted model."""
    saved, temperatures = open_saved(final.folder, device)
    picked = "it was picked among candidates"
    return Subject(name, f"{what}: {describe_saved(saved)}", saved, temperatures, picked, search, final)


def open_result(layout: SearchLayout, device: torch.device | str) -> Subject:
    """What a search was promoted to, else its best model."""
    if any((layout.final.folder / file).is_file() for file in (MODEL_FILE, ENSEMBLE_FILE)):
        return open_final(layout.name, "what this search was promoted to", layout.final, device, layout)
    if not layout.best_model.is_file():
        raise SearchError(
            f"a search that is compared must have ended with a model, but {layout.name} has none; go on with it by "
            f"--resume {layout.name}, or name a trial whose model is kept: {list_kept(layout)}"
        )
    saved, temperatures = open_saved(layout.best_folder, device)
    trial = json.loads(layout.best_config.read_text())["trial"]
    words = f"the best of this search, trial {trial}: {describe_saved(saved)}"
    return Subject(layout.name, words, saved, temperatures, "its trial and its epoch were picked", layout)


def open_trial(name: str, layout: SearchLayout, trial: int, device: torch.device | str) -> Subject:
    """The model that a search kept of one trial."""
    if layout.find_checkpoint(trial) is None:
        raise SearchError(
            f"a trial that is compared must have a model that was kept, but {name} has none; those that have one are "
            f"{list_kept(layout)}"
        )
    saved, temperatures = open_saved(layout.checkpoint_folder(trial), device)
    picked = "its epoch was picked, and the trial kept,"
    return Subject(name, f"one trial: {describe_saved(saved)}", saved, temperatures, picked, layout)


def list_kept(layout: SearchLayout) -> str:
    """`demo:1, demo:3`, or `none`."""
    folders = layout.checkpoint_folder(0).parent.glob(f"{CHECKPOINT_PREFIX}*/{MODEL_FILE}")
    numbers = sorted(int(path.parent.name.removeprefix(CHECKPOINT_PREFIX)) for path in folders)
    return ", ".join(f"{layout.name}:{number}" for number in numbers) or "none"


def describe_saved(saved: Saved) -> str:
    """Its networks and how large they see an image; of a single one the epoch."""
    names = [f"{member.config.backbone} at {member.config.image_size} px" for member in as_ensemble(saved).members]
    if isinstance(saved, SavedEnsemble):
        return f"ensemble of {len(names)} ({', '.join(dict.fromkeys(names))})"
    return f"{names[0]}, epoch {saved.epoch}"


# -------------------------------------------------------------------------------------------------- what they have seen


def find_history(subject: Subject, folder: Path, prepared: PreparedData) -> History:
    """What a model has seen of images, as far as its folder or its search tells.

    Args:
        folder: of the data set that it is to be judged on; stands in for its search's where that is gone.
        prepared: this data set as the model (of an ensemble, the first member) wants it.

    Raises:
        DataError: its search's data set can no longer be read.
    """
    if subject.final is not None:
        return read_history(subject.final)
    if subject.search is None or subject.options is None:
        return History(None, remark=f"{UNKNOWN} a path alone does not tell. NAME or NAME:TRIAL of a search does.")
    home, remark = subject.options.data, ""
    is_unchanged = prepared.fingerprint == as_ensemble(subject.saved).members[0].data_fingerprint
    is_here = home.is_dir() and home.resolve() == folder.resolve()
    if not is_here and home.is_dir():
        table = load_annotations(home, skip_bad=subject.options.skip_bad, check_images=False).table
        names, splits = table["image"].to_pylist(), table["split"].to_pylist()
        folder = home
    elif is_here or is_unchanged:
        names, splits = prepared.names, prepared.splits.tolist()
    else:
        return History(None, remark=f"{UNKNOWN} its search's data set, {home}, is gone.")
    if is_here and not is_unchanged:
        remark = "its data set has changed since; taken for what it was trained on is what stands in train now."
    selection = replay(read_events(subject.search.ledger)).search["selection"]
    split = "train" if selection["select_on"] == "heldout" else "val"
    picked = {name for name, of in zip(names, splits, strict=True) if of == split} & set(selection["select_images"])
    trained = {name for name, of in zip(names, splits, strict=True) if of == "train"}
    if split == "train":
        trained -= picked
    return History(compute_digests(folder, trained), compute_digests(folder, picked), remark)


def read_history(final: FinalLayout) -> History:
    """What the folder of a promoted model says."""
    if not final.trained_on.is_file():
        return History(None, remark=f"{UNKNOWN} its folder has no {final.trained_on.name}.")
    trained = frozenset(json.loads(final.trained_on.read_text())["digests"])
    if not final.answers.is_file():
        return History(trained)
    with np.load(final.answers, allow_pickle=False) as arrays:
        return History(trained, frozenset(arrays["digests"].tolist()))


def compute_digests(folder: Path, images: Iterable[str]) -> frozenset[str]:
    """Digests of image files. images: paths below the folder."""
    with ThreadPoolExecutor(READERS) as pool:
        return frozenset(pool.map(compute_digest, [folder / image for image in images]))


def check_unseen(
    sides: Sequence[str], subjects: Sequence[Subject], histories: Sequence[History], judged: Collection[str], what: str
) -> None:
    """No model may be judged on an image that it was trained on.

    Args:
        judged: digests of the images.
        what: these images, in words.

    Raises:
        SearchError: names each side that was.
    """
    faults = []
    for side, subject, history in zip(sides, subjects, histories, strict=True):
        if count := sum(digest in (history.trained_on or ()) for digest in judged):
            faults.append(f"{side} ({subject.name}) was trained on {count:,} of them")
    if faults:
        raise SearchError(
            f"two models must be compared on images that neither was trained on, here the {len(judged):,} {what}, but "
            f"{' and '.join(faults)}; name another data set with --data, or a model that was trained on train alone"
        )
