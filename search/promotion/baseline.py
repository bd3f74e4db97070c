"""What candidates must beat where there is no champion: the report's recipe, in their protocol or in its own.

A protocol is what is seen of an image, the network that sees it, and for how long it is trained; a recipe is all else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_core.config import TrainConfig, build_config
from fashion_core.data.pixels import WITH_MARGIN
from fashion_core.errors import ConfigError, SearchError
from fashion_core.escaping import show_value
from fashion_core.files import make_line, read_plain
from search.planning.backbones import try_backbones
from search.promotion.options import NO_BASELINE, OWN, REPORT
from search.space.reading import MAX_SIZE, FaultList, read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashion_core.data.schema import AttributeSchema

# The report's loss, optimizer and FC depth, and its weights of DeepFashion's categories.
RECIPE: dict[str, Any] = {
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
CATEGORY_WEIGHTS = {"pattern": 0.95, "sleeve": 0.85, "length": 0.85, "neckline": 0.9, "material": 1.0, "fit": 0.9}
# Its protocol, with its best backbone: as `spaces/weighted_focal.yaml` tries it first.
PROTOCOL: dict[str, Any] = {
    "image_size": 224,
    "crop": "box",
    "backbone": "legacy_seresnext50_32x4d.in1k",
    "weights": "hub",
    "feature": "logits",
    "epochs": 29,
    "precision": "fp32",
    "eval_flip": False,
}
# What every baseline has of the best candidate, and what one in the candidates' protocol has beside that.
COMMON = ("objective", "channels_last", "eval_batch_size")
SHARED = (*PROTOCOL, "crop_margin", "probe_epochs")
# Where its own cannot be had or run, the best candidate's are taken: one after the other, until it runs.
STAND_INS = ((), ("backbone", "weights"), ("feature",), ("image_size",))


def build_baseline(
    wanted: str, best: TrainConfig, schema: AttributeSchema
) -> tuple[TrainConfig | None, tuple[str, ...]]:
    """What the candidates must beat where there is no champion, and what of its own protocol could not be run.

    Args:
        wanted: `report`, `own`, `none`, or a YAML file of `TrainConfig` fields; what it leaves out is that of `report`.
        best: configuration of the best candidate.

    Raises:
        SearchError, ConfigError: no such file, or no possible configuration.
    """
    if wanted == NO_BASELINE:
        return None, ()
    values = {name: getattr(best, name) for name in COMMON} | RECIPE
    if set(schema.names) == set(CATEGORY_WEIGHTS):
        values["category_weights"] = {name: CATEGORY_WEIGHTS[name] for name in schema.names}
    if wanted == OWN:
        return choose_protocol(values, best)
    values |= {name: getattr(best, name) for name in SHARED}
    if wanted != REPORT:
        values |= read_baseline(wanted)
    return build_config(values), ()


def choose_protocol(recipe: dict[str, Any], best: TrainConfig) -> tuple[TrainConfig, tuple[str, ...]]:
    """The recipe in its own protocol, as far as it can be run here, and why it is not run in all of it.

    Raises:
        ConfigError: it cannot be run on the best candidate's network and images either.
    """
    values, notes, reason = recipe | PROTOCOL, list[str](), ""
    for names in STAND_INS:
        if names:
            own = ", ".join(show_setting(name, values[name]) for name in names)
            values |= {name: getattr(best, name) for name in names}
            taken = ", ".join(show_setting(name, values[name]) for name in names)
            notes.append(f"Its own {own} could not be run here ({reason}); it has {taken} of the best candidate.")
        config = build_config(values)
        fault = find_fault(config)
        if fault is None:
            return config, tuple(notes)
        reason = fault
    raise ConfigError(f"--baseline own must run here, but {reason}; take --baseline report")


def find_fault(config: TrainConfig) -> str | None:
    """Why a network cannot be had or run here, in a clause; None where it can."""
    try:
        missing = try_backbones([(config.backbone, config.weights, config.feature, config.image_size)]).missing
    except ConfigError as error:
        return shorten(error)
    return None if missing is None else shorten(missing)


def shorten(error: Exception) -> str:
    """What an error says, without its remedies: here another network is taken."""
    return make_line(str(error)).split("; ")[0]


def read_baseline(path: str) -> dict[str, Any]:
    """Training fields of a YAML file, which is read as a space is: plain values alone, and not too many.

    Raises:
        SearchError: it cannot be read, or does not map training fields to values.
    """
    faults = FaultList(path)
    try:
        given = read_yaml(read_plain(Path(path), MAX_SIZE).decode("utf-8-sig"), faults)
    except (OSError, ValueError) as error:
        raise SearchError(
            f"--baseline must be `{REPORT}`, `{OWN}`, `{NO_BASELINE}` or a YAML file of training fields, but "
            f"{show_value(path)} cannot be read ({make_line(error)})"
        ) from None
    if given is None or faults.found or not isinstance(given.plain, dict):
        reason = f": {make_line(faults.found[0].message)}" if faults.found else ""
        raise SearchError(f"a baseline's file must map training fields to values, but {path} does not{reason}")
    return dict(given.plain)


# ------------------------------------------------------------------------------------------------------------- in words


def list_differences(one: TrainConfig, other: TrainConfig) -> list[str]:
    """`image_size 224, not 160`: in what the protocol of one is not that of another."""
    return [
        f"{show_setting(name, getattr(one, name))}, not {show_value(getattr(other, name))}"
        for name in SHARED
        if getattr(one, name) != getattr(other, name) and not is_idle(name, one, other)
    ]


def is_alike(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether the epochs of two are of one length: the same network sees the same images."""
    return all(getattr(one, name) == getattr(other, name) for name in ("backbone", "image_size", "probe_epochs"))


def is_idle(name: str, *configs: TrainConfig) -> bool:
    """Whether a setting does nothing in any of these."""
    return name == "crop_margin" and all(config.crop not in WITH_MARGIN for config in configs)


def describe_baseline(wanted: str, config: TrainConfig, best: TrainConfig, words: str, notes: Sequence[str]) -> str:
    """What is compared with what, in a few sentences.

    Args:
        wanted: see `build_baseline`.
        words: of the best candidate.
        notes: what of its own protocol could not be run.
    """
    kinds = {REPORT: "the report's recipe", OWN: "the report's recipe in its own protocol"}
    kind = kinds.get(wanted, f"that of {Path(wanted).name}, and the report's recipe in all else")
    differences = list_differences(config, best)
    if differences:
        like = f"its protocol differs from that of {words}: {'; '.join(differences)}"
    else:
        like = f"it has the protocol of {words}: network, images and epochs"
    return " ".join([f"{kind}; {like}.", *notes])


def show_setting(name: str, value: object) -> str:
    """`epochs 29`."""
    return f"{name} {show_value(value)}"
