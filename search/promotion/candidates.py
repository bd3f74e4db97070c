"""Which configurations of a search are trained again, and what they must beat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fashion_core.config import TrainConfig, build_config
from fashion_core.data.schema import AttributeSchema
from fashion_core.errors import SearchError
from search.records.record import SearchRecord
from search.space.reading import parse_space
from search.space.space import Space
from search.space.weights import WEIGHTS, flatten_weights

BASELINE = "baseline"
# The report's loss, optimizer and FC depth, and its category weights in the order of the data's categories.
REPORT: dict[str, Any] = {
    "fc_layers": 0,
    "dropout": 0.1,
    "focal_gamma": 2.0,
    "optimizer": "adam",
    "lr": 1e-3,
    "probe_lr": 1e-3,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup_fraction": 0.0,
    "batch_size": 32,
    "flip": 0.5,
}
REPORT_WEIGHTS = (0.95, 0.85, 0.85, 0.9, 1.0, 0.9)
# What a baseline shares with the best candidate: the network it starts from, its pixels, and its budget.
SHARED_FIELDS = (
    "image_size",
    "crop",
    "crop_margin",
    "backbone",
    "weights",
    "feature",
    "epochs",
    "probe_epochs",
    "precision",
    "channels_last",
    "eval_batch_size",
    "eval_flip",
)


@dataclass(frozen=True)
class Candidate:
    """A configuration that is trained again.

    Attributes:
        label: `trial-0012`, or `baseline`.
        trial: its number in the search; None for the baseline.
        search_score: its best val/accuracy in the search.
        config: of its training; the seed is replaced by those of the re-runs.
    """

    label: str
    trial: int | None
    search_score: float | None
    config: TrainConfig

    @property
    def words(self) -> str:
        """How a table calls it."""
        return self.label if self.trial is None else f"trial {self.trial}"


def flatten_config(config: TrainConfig) -> dict[str, Any]:
    """Its fields by name, with a `weight_<category>` for each category's weight."""
    values = config.model_dump()
    weights = values.pop(WEIGHTS)
    return values | flatten_weights(weights)


def build_shortlist(record: SearchRecord, schema: AttributeSchema, top: int) -> tuple[Candidate, ...]:
    """The best trials that reached their full budget, best first; of equal configurations the better one.

    Raises:
        SearchError: none did.
    """
    space = load_own_space(record)
    candidates: list[Candidate] = []
    for trial in record.rank():
        config = build_config(space.build_values(trial.params, schema))
        if trial.status == "finished" and all(config != other.config for other in candidates):
            candidates.append(Candidate(f"trial-{trial.number:04d}", trial.number, trial.best, config))
    if not candidates:
        name = record.name
        states = ", ".join(f"trial {trial.number} {trial.status}" for trial in list(record.trials.values())[:8])
        raise SearchError(
            f"a promotion starts from trials that reached their full budget, but none of {name} did "
            f"({states or 'it has no trials'}); go on with it: search/run.py --resume {name}"
        )
    return tuple(candidates[:top])


def load_own_space(record: SearchRecord) -> Space:
    """The space of a search as it ran, from its ledger."""
    space = parse_space(record.search["space"], record.search["space_name"])
    settings = record.settings
    return space.with_scheduler(max_epochs=settings["max_epochs"])


def build_baseline(wanted: str, best: TrainConfig, schema: AttributeSchema) -> Candidate | None:
    """What the candidates must beat where there is no champion.

    Args:
        wanted: `report`, `none`, or a YAML file of `TrainConfig` fields; what it leaves out is the report's.
        best: configuration of the best candidate: backbone, pixels and budget are taken from it.

    Raises:
        SearchError, ConfigError: no such file, or no possible configuration.
    """
    if wanted == "none":
        return None
    values = {name: getattr(best, name) for name in SHARED_FIELDS} | REPORT
    if len(schema.names) == len(REPORT_WEIGHTS):
        values["category_weights"] = dict(zip(schema.names, REPORT_WEIGHTS, strict=True))
    if wanted != "report":
        try:
            given = yaml.safe_load(Path(wanted).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SearchError(
                f"--baseline must be `report`, `none` or a YAML file of training fields, but {wanted!r} cannot be read "
                f"({str(error).splitlines()[0]})"
            ) from None
        if not isinstance(given, dict):
            raise SearchError(f"a baseline's file must map training fields to values, but {wanted} does not")
        values |= given
    return Candidate(BASELINE, None, None, build_config(values))
