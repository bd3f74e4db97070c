"""What a search takes over before it begins: configurations to try first, and what other searches found.

The sampler is told of another search's trial where it is what this search would have trained: the same data and images
to compare on, the same epochs, and every field equal that is not searched here. To be tried first, a configuration only
has to lie in the space: it is trained anew.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fashion_core.config import build_config
from fashion_core.data.reading import split_names
from fashion_core.errors import SearchError
from fashion_core.escaping import show_value
from fashion_core.files import MAX_JSON_BYTES, build_damage, parse_json, read_plain
from search.records.events import Observed, OtherSearch, TakenOver, TrialStatus
from search.records.layout import SearchLayout
from search.records.own_space import load_own_space
from search.records.record import load_record
from search.space.points import build_point, find_impossible, list_differences, project, read_point

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from fashion_core.config import TrainConfig
    from fashion_core.data.schema import AttributeSchema
    from search.planning.plan import Plan
    from search.records.record import SearchRecord, TrialRecord
    from search.space.space import Space

BEST_TRIED = 3  # of each other search
TOLD = (
    TrialStatus.FINISHED,
    TrialStatus.STOPPED,
    TrialStatus.PAUSED,
    TrialStatus.DIVERGED,
)  # what a sampler can learn from
OTHER_DATA = "other data"


def take_over(plan: Plan) -> Plan:
    """The plan with what its options name.

    Raises:
        SearchError: a configuration is not of the space, or another search is not to be had, or on other categories.
    """
    options, space, schema = plan.options, plan.space, plan.annotations.schema
    if options.enqueue is None and options.warm_start is None:
        return plan
    if space.sampler == "grid":
        raise SearchError(
            f"--enqueue and --warm-start must go with a space that is sampled, but {space.name} is a grid and runs "
            "every combination; leave them out"
        )
    tried = [] if options.enqueue is None else read_configurations(options.enqueue, space, schema)
    observed: list[Observed] = []
    others = []
    for name in dict.fromkeys(split_names(options.warm_start) or ()):
        other, learned, best = take_search(plan, load_record(SearchLayout(plan.layout.results, name)))
        others.append(other)
        observed += learned
        tried += best
    distinct = [point for index, point in enumerate(tried) if point not in tried[:index]]
    allowed = [point for point in distinct if space.can_have(point)]
    left_out = [*plan.left_out, *(point for point in distinct if point not in allowed)]
    return replace(plan, taken=TakenOver(tried_first=allowed, observed=observed, others=others), left_out=left_out)


# ---------------------------------------------------------------------------------------------------------- from a file


def read_configurations(path: Path, space: Space, schema: AttributeSchema) -> list[dict[str, Any]]:
    """The configurations of a file, as points of the space.

    Raises:
        SearchError: it holds none, or some are not of the space: a line each.
    """
    try:
        content = parse_json(read_plain(path, MAX_JSON_BYTES))
    except (OSError, ValueError) as error:
        raise build_damage(path, "hold configurations as JSON", "give another --enqueue", SearchError, error) from None
    found = content if isinstance(content, list) else [content]
    if not found:
        raise SearchError(f"{path} must hold a configuration at least, but its list is empty; leave --enqueue out")
    points, faults = [], []
    for number, values in enumerate(found, 1):
        point, wrong = read_configuration(values, space, schema)
        points.append(point)
        faults += [f"{path.name}, configuration {number}: {fault}" for fault in wrong]
    if faults:
        raise SearchError("\n".join(faults))
    return points


def read_configuration(values: Any, space: Space, schema: AttributeSchema) -> tuple[dict[str, Any], Sequence[str]]:
    """A point, and what is wrong with it. values: parameters; or an object that has them as `params`."""
    if isinstance(values, dict) and isinstance(values.get("params"), dict):
        values = values["params"]
    if not isinstance(values, dict) or not values:
        return {}, [f"it must be a JSON object of parameters and values, but got {show_value(values)}"]
    point, faults = read_point(space, values, schema)
    if not faults and (fault := find_impossible(space, point, schema)):
        faults = [fault]
    return point, faults


# -------------------------------------------------------------------------------------------------- from other searches


def take_search(plan: Plan, record: SearchRecord) -> tuple[OtherSearch, list[Observed], list[dict[str, Any]]]:
    """What another search gives: what was taken and left out, its trials for the sampler, its best to try first.

    Raises:
        SearchError: its categories are others.
    """
    schema, begun = plan.annotations.schema, record.begun
    if begun.categories != schema.to_dict():
        raise SearchError(
            f"--warm-start must name searches on the categories of this data, {', '.join(schema.names)}, with the same "
            f"classes, but {begun.name} has {', '.join(begun.categories) or 'none'}; leave it out"
        )
    ours, theirs = replace(plan.space, starts={}), load_own_space(record)
    whole, left_out = find_unlike(plan, record), Counter[str]()
    observed: list[Observed] = []
    points: dict[int, dict[str, Any]] = {}
    for number, trial in sorted(record.trials.items()):
        config = build_config(theirs.build_values(trial.params, schema))
        if trial.status is TrialStatus.FINISHED and trial.last_epoch < config.epochs:
            # before that search was lengthened
            config = config.model_copy(update={"epochs": trial.last_epoch})
        point, outside = project(ours, config, schema)
        if not outside and ours.can_have(point) and find_impossible(ours, point, schema) is None:
            points[number] = point
        if why := whole or find_reason(trial, ours, config, point, outside, schema):
            left_out[why] += 1
        else:
            score, rung = trial.best or 0.0, trial.rung
            observed.append(
                Observed(search=begun.name, trial=number, drawn=point, status=trial.status, score=score, rung=rung)
            )
    best = [points[trial.number] for trial in record.rank() if trial.number in points][:BEST_TRIED]
    other = OtherSearch(
        name=begun.name,
        fingerprint=begun.data.get("fingerprint", ""),
        observed=len(observed),
        tried=len(best),
        left_out=dict(left_out),
    )
    return other, observed, best


def find_unlike(plan: Plan, record: SearchRecord) -> str | None:
    """Why no score of another search can be compared with this one's; None if they can be. Data is looked at later."""
    options, theirs = plan.options, record.settings
    if theirs.get("select_on", "val") != options.select_on:
        return f"scores are on {theirs.get('select_on', 'val')}, here on {options.select_on}"
    if options.select_on == "heldout" and theirs.get("seed", 0) != options.seed:
        return f"images held out by seed {theirs.get('seed', 0)}, here by {options.seed}"
    return None


def find_reason(
    trial: TrialRecord,
    space: Space,
    config: TrainConfig,
    point: dict[str, Any],
    outside: Collection[str],
    schema: AttributeSchema,
) -> str | None:
    """Why the sampler is not told of a trial; None if it is."""
    if trial.status not in TOLD or trial.best is None:
        return f"{trial.status}, so without a score that counts"
    if outside:
        return f"{', '.join(outside)} outside the range here"
    ours = build_point(space, point, schema)
    for name in list_differences(ours, config, schema):
        if name == "epochs":
            return f"{config.epochs} epochs, here {ours.epochs}"
        return f"{name} not searched here, and other" if name in trial.params else f"other {name}"
    return None


def settle(taken: TakenOver, fingerprints: Collection[str]) -> TakenOver:
    """What is left once the images are known: the sampler is not told of trials on other data.

    Args:
        fingerprints: of the prepared data of this search.
    """
    strange = {other.name for other in taken.others if other.fingerprint not in fingerprints}
    others = []
    for other in taken.others:
        if other.name in strange and other.observed:
            left_out = {OTHER_DATA: other.observed, **other.left_out}
            other = other.model_copy(update={"observed": 0, "left_out": left_out})
        others.append(other)
    observed = [each for each in taken.observed if each.search not in strange]
    return taken.model_copy(update={"observed": observed, "others": others})
