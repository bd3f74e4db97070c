"""What trials open, made before the first of them: prepared images, the selection, and features for probes."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from fashion_core.data.pixels import build_settings
from fashion_core.data.prepared import PreparedData, prepare_all
from fashion_core.data.splits import Selection, select_images
from fashion_core.loading.features import cache_features
from search.jobs.job import Job, name_features, save_selection
from search.planning.plan import Plan
from search.reporting.live import preparing


def prepare_job(plan: Plan, console: Console) -> tuple[Job, PreparedData, Selection]:
    """Make every prepared set that trials can need, and the selection of images.

    Returns:
        What travels to the trials, the first prepared set, and the selection.
    """
    settings = plan.space.prepare_settings()
    with preparing(console) as progress:
        opened = prepare_all(plan.annotations, settings, plan.cache_dir, progress=progress)
    prepared = {str(each): str(data.path.resolve()) for each, data in opened.items()}
    data = next(iter(opened.values()))
    selection = select_images(data, plan.options.select_on, plan.options.seed)
    path = plan.cache_dir.resolve() / f"selection-{data.fingerprint}-{selection.select_on}-{selection.seed}.npz"
    save_selection(path, selection.train, selection.select)
    resources, features = plan.resources, cache_all(plan, prepared, console)
    job = Job(prepared, str(path), plan.options.seed, resources.cpus_per_trial, features, gpus=resources.gpus_per_trial)
    return job, data, selection


def cache_all(plan: Plan, prepared: dict[str, str], console: Console) -> dict[str, str]:
    """The features that trials with probe epochs can need: paths by `name_features`; none where no trial has any."""
    paths = {}
    for config in plan.space.list_probed():
        data = PreparedData.open(Path(prepared[str(build_settings(config))]))
        with preparing(console, f"features of {config.backbone}") as progress:
            paths[name_features(config)] = str(
                cache_features(config, data, plan.cache_dir.resolve(), progress=progress)
            )
    return paths
