"""Several trained networks that answer as one: the average of their probabilities, saved as one folder.

    FOLDER/ensemble.json               format, members with their shares, scores of the ensemble
    FOLDER/member-0/model.safetensors  each member as a saved model of its own

B images, S pixels a side, K categories, C classes of one category.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field, field_validator
from torch import Tensor, nn

from fashion_core.data.pixels import PrepareSettings, build_settings
from fashion_core.errors import CheckpointError, ConfigError
from fashion_core.files import ENSEMBLE_FILE, MODEL_FILE, make_line, read_json, write_whole
from fashion_core.models.saved import Best, SavedModel, load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.schema import AttributeSchema

ENSEMBLE_FORMAT = "fashion-ensemble/1"
MAX_MEMBERS = 1_000


class MemberDescription(BaseModel):
    """What an ensemble's file tells of a member: its file, below the ensemble's folder, and its share."""

    file: str = Field(max_length=255)
    share: float

    @field_validator("file")
    @classmethod
    def check_place(cls, file: str) -> str:
        """Raises ValueError where it leads out of the folder."""
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or not file.isprintable():
            raise ValueError("a member must lie below the ensemble's folder")
        return file


class EnsembleDescription(BaseModel):
    """What the file of an ensemble tells, checked by types."""

    format: str
    members: list[MemberDescription] = Field(max_length=MAX_MEMBERS)
    metrics: dict[str, float]

    @field_validator("members")
    @classmethod
    def check_differ(cls, members: list[MemberDescription]) -> list[MemberDescription]:
        """Raises ValueError where one is named twice: it would take its memory twice."""
        if len({member.file for member in members}) < len(members):
            raise ValueError("the members must be different files")
        return members


@dataclass(frozen=True)
class SavedEnsemble:
    """Saved models whose probabilities are averaged. `join_models` makes one.

    Attributes:
        shares: of each member in the average; their sum is 1.
        metrics: scores of the ensemble, by name; empty where nobody measured them.
    """

    members: tuple[SavedModel, ...]
    shares: tuple[float, ...]
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def schema(self) -> AttributeSchema:
        """The categories, which all members share."""
        return self.members[0].schema

    @property
    def views(self) -> tuple[PrepareSettings, ...]:
        """How its images are prepared: each way that some member wants, once."""
        return tuple(dict.fromkeys(build_settings(member.config) for member in self.members))

    @property
    def eval_batch_size(self) -> int:
        """Images at once that every member takes."""
        return min(member.config.eval_batch_size for member in self.members)


Saved = SavedModel | SavedEnsemble  # what can be asked for attributes


class AttributeEnsemble(nn.Module):
    """The members of an ensemble as one network: pixels in, probabilities out.

    A member normalises its pixels itself and sees images prepared as its own configuration says; members that want the
    same share an input. It runs in the number format of its weights. Changing it changes the members.
    """

    def __init__(self, ensemble: SavedEnsemble) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in ensemble.members)
        self.views = ensemble.views
        self.inputs = [self.views.index(build_settings(member.config)) for member in ensemble.members]
        self.flips = [member.config.eval_flip for member in ensemble.members]
        self.shares = ensemble.shares

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        """images: [B, 3, S, S] pixels 0..255, uint8 or float, for each of `views` -> K probabilities [B, C_i]."""
        totals: list[Tensor] = []
        for network, position, flip, share in zip(self.networks, self.inputs, self.flips, self.shares, strict=True):
            pixels, count = images[position], images[position].shape[0]
            if flip:  # in one batch, so that an exported graph holds the network once
                pixels = torch.cat([pixels, pixels.flip(3)])
            parts = [logits.softmax(1) for logits in network(pixels)]
            if flip:  # by `shape`, since `len` or `chunk` would fix the batch size of an exported graph
                parts = [(part[:count] + part[count:]) / 2 for part in parts]
            parts = [share * part for part in parts]
            totals = [total + part for total, part in zip(totals, parts, strict=True)] if totals else parts
        return totals


def join_models(
    members: Sequence[SavedModel], shares: Sequence[float] | None = None, metrics: dict[str, float] | None = None
) -> SavedEnsemble:
    """An ensemble of models.

    Args:
        shares: of the members, in any unit, such as how often a greedy selection chose each; default: equal.

    Raises:
        ConfigError: there is no member, their categories differ, or a share is not a positive number.
        ValueError: there is not a share for each member.
    """
    shares = [1.0] * len(members) if shares is None else shares
    if len(shares) != len(members):
        raise ValueError(f"a share must be given for each of the {len(members)} members, but got {len(shares)}")
    if not members:
        raise ConfigError("an ensemble must have at least one member, but got none; name one")
    if not all(np.isfinite(share) and share > 0 for share in shares):
        raise ConfigError(
            f"the shares of an ensemble must be positive numbers, but are {list(shares)}; leave out a member of share 0"
        )
    for number, member in enumerate(members):
        if member.schema != members[0].schema:
            raise ConfigError(
                f"the members of an ensemble must have the same categories, {members[0].schema.to_dict()}, but member "
                f"{number} has {member.schema.to_dict()}; leave it out"
            )
    total = sum(shares)
    return SavedEnsemble(tuple(members), tuple(share / total for share in shares), dict(metrics or {}))


def as_ensemble(saved: Saved) -> SavedEnsemble:
    """The same, with a single model as an ensemble of one."""
    return saved if isinstance(saved, SavedEnsemble) else SavedEnsemble((saved,), (1.0,), saved.metrics)


def set_flip(saved: Saved, flip: bool) -> Saved:
    """The same, averaging the answers to an image and to its mirror image, or not, whatever it was evaluated with."""

    def change(member: SavedModel) -> SavedModel:
        return replace(member, config=member.config.model_copy(update={"eval_flip": flip}))

    if isinstance(saved, SavedEnsemble):
        return replace(saved, members=tuple(map(change, saved.members)))
    return change(saved)


def save_ensemble(folder: Path, ensemble: SavedEnsemble) -> Path:
    """Write the ensemble into the folder, made if needed, in place of one that is there. Returns its JSON file.

    The JSON file is written last, so that a reader finds a whole ensemble or none.
    """
    file = folder / ENSEMBLE_FILE
    file.unlink(missing_ok=True)
    entries = []
    for number, (member, share) in enumerate(zip(ensemble.members, ensemble.shares, strict=True)):
        path = save_member(folder / f"member-{number}", member)
        entries.append({"file": path.relative_to(folder).as_posix(), "share": share})
    description = {"format": ENSEMBLE_FORMAT, "members": entries, "metrics": ensemble.metrics}
    write_whole(file, json.dumps(description, indent=2) + "\n")
    return file


def save_member(folder: Path, saved: SavedModel) -> Path:
    """Write a loaded model, or one that was made of several, as `model.safetensors` into the folder."""
    confusion = [np.array(matrix, np.int64) for matrix in saved.confusion]
    best = Best(saved.epoch, saved.metrics, confusion, saved.network.state_dict())
    return save_model(folder, best, saved.config, saved.schema, saved.data_fingerprint)


def load_saved(path: Path | str, device: torch.device | str = "cpu") -> Saved:
    """Read a saved model or a saved ensemble from its file, or from the folder that holds it.

    Raises:
        CheckpointError: there is none, there are both, or it is not one of this project.
    """
    path = Path(path)
    file = path / ENSEMBLE_FILE if path.is_dir() else path
    if file.name != ENSEMBLE_FILE or not file.exists():
        return load_model(path, device)
    if path.is_dir() and (path / MODEL_FILE).exists():
        raise CheckpointError(
            f"a folder must hold one saved model, but {path} has {ENSEMBLE_FILE} and {MODEL_FILE}; name one of the two"
        )
    found = read_json(file, EnsembleDescription, "describe an ensemble", "save it again", CheckpointError)
    if found.format != ENSEMBLE_FORMAT:
        raise CheckpointError(
            f"{file} must have the format {ENSEMBLE_FORMAT}, but has {make_line(repr(found.format))}; "
            "it was not written by this version of fashion_core"
        )
    members = [load_model(file.parent / member.file, device) for member in found.members]
    try:
        return join_models(members, [member.share for member in found.members], found.metrics)
    except ConfigError as error:
        raise CheckpointError(f"{file} must describe an ensemble, but: {make_line(error)}") from None
