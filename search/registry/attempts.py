"""Tries on judging images, kept with the registry: beside every model's name, and whatever folder of results is used.

One experiment of MLflow, with a run for every set of images; its tags hold the images and a line a try. The same stands
beside the results, see `search.records.attempts`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from fashion_core.errors import CheckpointError
from fashion_core.files import check_form, parse_json
from search.records.attempts import Attempt, JudgedImages
from search.records.attempts import describe_images as describe_judged
from search.records.layout import FinalLayout
from search.records.provenance import describe_git
from search.registry.access import tell_errors
from search.registry.history import read_answers
from search.registry.sources import SOURCE_TAG
from search.registry.versions import JUDGED_TAG, KEY_TAG, Registry
from search.tracking.facts import build_source, describe_images
from search.tracking.store import import_mlflow
from search.tracking.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EXPERIMENT = "judging images"
IMAGES_TAG, TRY_TAG, FINGERPRINT_TAG = "images.", "try.", "fingerprint"
DIGESTS_A_TAG = 280  # of 16 letters and a blank: a tag takes 5,000 letters


class RegistryBook:
    """The tries that a registry knows of.

    Every method raises SearchError where it cannot be reached.

    Args:
        artifacts: folder of MLflow's files, where the registry is a database.
    """

    def __init__(self, registry: Registry, artifacts: Path) -> None:
        """Nothing is asked before a method is called."""
        self.registry, self.writer = registry, Writer(registry.uri, artifacts)

    def read(self) -> list[JudgedImages]:
        """All sets of images that were judged on, with their tries."""
        with tell_errors(self.registry.uri):
            return [read_run(run) for run in self.find_runs()]

    def add(self, books: Sequence[JudgedImages]) -> None:
        """Write down what is not there yet. Doing it again, or by two processes at once, changes nothing."""
        with tell_errors(self.registry.uri):
            known = {run.data.tags[FINGERPRINT_TAG]: run for run in self.find_runs()}
            for each in books:
                run = known.get(each.fingerprint) or self.begin_run(each)
                new = [attempt for attempt in each.attempts if name_tag(attempt) not in run.data.tags]
                if new and run.info.lifecycle_stage == "deleted":  # in MLflow's pages: nothing could be written to it
                    self.connect().restore_run(run.info.run_id)
                for attempt in new:
                    self.connect().set_tag(run.info.run_id, name_tag(attempt), attempt.model_dump_json())

    def find_earlier(self, known: Sequence[JudgedImages]) -> list[JudgedImages]:
        """The tries of versions that were registered before tries were written down: their folders tell the images.

        Args:
            known: what is written down by now.
        """
        keys = {attempt.key for each in known for attempt in each.attempts}
        found = []
        with tell_errors(self.registry.uri):
            for model in self.registry.connect().search_registered_models():
                registry = Registry(self.registry.uri, model.name)
                for version in registry.list_versions():
                    if (key := version.tags.get(KEY_TAG)) is None or key in keys:
                        continue
                    try:
                        digests = read_answers(FinalLayout(registry.download(version))).digests
                    except CheckpointError:  # of a version that was made otherwise, or is damaged
                        continue
                    search, opponent = version.tags.get(SOURCE_TAG, ""), version.tags.get(JUDGED_TAG, "")
                    attempt = Attempt(time=0, search=search, key=key, model=model.name, opponent=opponent)
                    found.append(replace(describe_judged(digests), attempts=(attempt,)))
        return found

    def connect(self) -> MlflowClient:
        """The registry's own client: where nobody answers, it tells within seconds."""
        self.writer.client = self.registry.connect()
        return self.writer.client

    def find_runs(self) -> list[Run]:
        """The runs of the experiment, which is made if there is none; those that were deleted too: a try was made."""
        import_mlflow()
        from mlflow.entities import ViewType

        client, runs, token = self.connect(), [], None
        experiment = self.writer.find_experiment(EXPERIMENT)
        while True:
            page = client.search_runs([experiment], run_view_type=ViewType.ALL, page_token=token)
            runs += [run for run in page if FINGERPRINT_TAG in run.data.tags]
            if (token := page.token) is None:
                return runs

    def begin_run(self, images: JudgedImages) -> Run:
        """The run of a set of images."""
        digests = sorted(images.digests)
        tags = {FINGERPRINT_TAG: images.fingerprint, "kind": EXPERIMENT}
        for number, start in enumerate(range(0, len(digests), DIGESTS_A_TAG)):
            tags[f"{IMAGES_TAG}{number:04d}"] = " ".join(digests[start : start + DIGESTS_A_TAG])
        client, count = self.connect(), f"{len(digests):,} images"
        self.writer.experiment = self.writer.find_experiment(EXPERIMENT)
        run = self.writer.begin_run(
            f"{count} {images.fingerprint}",
            tags,
            note=f"{count} that models were judged on; a tag `{TRY_TAG}...` tells each try",
            source=build_source(describe_git()),
            data=[describe_images("judge", EXPERIMENT, images.fingerprint, len(digests))],
        )
        client.set_terminated(run.info.run_id)
        return run


def read_run(run: Run) -> JudgedImages:
    """The images of a run, and their tries; a tag that somebody else wrote is left out."""
    tags = run.data.tags
    digests = [digest for name, text in tags.items() if name.startswith(IMAGES_TAG) for digest in text.split()]
    attempts = []
    for name, text in tags.items():
        if name.startswith(TRY_TAG):
            try:
                attempts.append(check_form(parse_json(text), Attempt))
            except ValueError:
                continue
    return JudgedImages(describe_judged(digests).digests, tuple(attempts))


def name_tag(attempt: Attempt) -> str:
    """The tag of a try: the same for the same one."""
    return TRY_TAG + hashlib.blake2b(json.dumps(attempt.identity).encode(), digest_size=8).hexdigest()
