"""Training networks again, several at once on Ray, each of them in a folder of its own from which it can go on.

    FOLDER/epochs/0001.npz       of each epoch: its scores, and the probabilities of every validation image
    FOLDER/state/                state to go on from, until the end
    FOLDER/model.safetensors     best epoch by the objective, or the one it was to stop at
    FOLDER/run.json              how it ended, with the model's SHA-256: written last

On a cluster, the folder is on a file system that all nodes share. N images, E epochs, K categories, C classes of one.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import ray
from pydantic import BaseModel
from ray import cloudpickle

from fashion_core import metrics
from fashion_core.errors import CheckpointError, DivergedError, RayLostError
from fashion_core.files import (
    MODEL_FILE,
    RETRY_SECONDS,
    build_damage,
    check_form,
    describe_full,
    hash_file,
    is_full,
    parse_json,
    read_arrays,
    read_json,
    whole,
    write_whole,
)
from fashion_core.models.saved import Best, save_model
from search.jobs.beats import TRIAL_TIMEOUT_S, WAITING, Beats, Pulse, name_collector, name_job
from search.jobs.cluster import Users, lose_ray
from search.jobs.health import Health
from search.jobs.nodes import MISFIT, NODE, leave_out, run_if_fit, tell_none_left
from search.jobs.saved_state import delete_state, find_state, save_state
from search.jobs.training import SAVE_INTERVAL_S, TrainingJob, describe_error
from search.records.events import TrialStatus

if TYPE_CHECKING:
    from pathlib import Path

    from fashion_core.config import TrainConfig
    from fashion_core.training.loop import EpochResult
    from search.planning.resources import Resources

RUN_FILE = "run.json"
EPOCHS_FOLDER = "epochs"
DIVERGED, FAILED, FINISHED = TrialStatus.DIVERGED, TrialStatus.FAILED, TrialStatus.FINISHED
POLL_S = 1.0
MAX_DEATHS = 1  # of a training's process: it goes on from its last state so often
Listener = Callable[["Training", dict[str, Any]], None]
Onlooker = Callable[[Mapping[str, str]], None]


class RunEnd(BaseModel):
    """What `run.json` tells, checked by types."""

    status: Literal["finished", "diverged", "failed"]
    error: str | None = None
    model: str | None = None  # SHA-256 of the file; older ones do not tell


@dataclass(frozen=True)
class Training:
    """One network to be trained. Paths and numbers: it travels to a worker.

    Attributes:
        label, seed_number: whose it is, and the how manyth of its seeds.
        folder: of its files.
        stop_epoch: train to this epoch alone and keep that; None: to the end, and keep the best.
    """

    label: str
    seed_number: int
    job: TrainingJob
    folder: Path
    stop_epoch: int | None = None

    @property
    def name(self) -> str:
        """That no other of a promotion has."""
        return self.folder.name

    @property
    def config(self) -> TrainConfig:
        """Of the network."""
        return self.job.config

    @property
    def end(self) -> RunEnd | None:
        """How it ended; None where it did not.

        Raises:
            CheckpointError: the file that tells is damaged.
        """
        path = self.folder / RUN_FILE
        if not path.exists():
            return None
        return read_json(path, RunEnd, "tell how a re-run ended", f"delete {self.folder.name}", CheckpointError)

    @property
    def status(self) -> TrialStatus | None:
        """How it ended: `finished` or `diverged`. None where it did not, or where trying again may help."""
        end = self.end
        return None if end is None or end.status == FAILED else TrialStatus(end.status)


@dataclass(frozen=True)
class Run:
    """A network that was trained.

    Attributes:
        scores: metrics of each epoch.
        probabilities: K arrays [E, N, C_i] float32 of the validation images.
        folder: of its files.
    """

    label: str
    seed_number: int
    scores: tuple[dict[str, float], ...]
    probabilities: list[np.ndarray]
    folder: Path

    @property
    def seconds(self) -> float:
        """Spent in training and evaluating."""
        return sum(row[metrics.TRAIN_SECONDS] + row[metrics.VAL_SECONDS] for row in self.scores)


def train(training: Training, collector: str | None = None, timeout_s: float = math.inf) -> Iterator[dict[str, Any]]:
    """Train one network, or go on with it. Yields {epoch, metrics}, last {status, error}, as `run.json` has it.

    In between it yields {note}, in words: where the disk is full, and it waits; where its state is damaged.

    Args:
        collector, timeout_s: see `search.jobs.beats.Pulse`.
    """
    with Pulse(collector, timeout_s) as pulse:
        pulse.begin(training.name)
        yield from train_with(training, pulse)


def train_with(training: Training, pulse: Pulse) -> Iterator[dict[str, Any]]:
    """See `train`."""

    def write(make: Callable[[], object]) -> Iterator[dict[str, Any]]:
        return write_or_wait(make, training.folder, pulse)

    folder, state = training.folder, None
    outcome: dict[str, str | None] = {"status": FINISHED, "error": None}
    yield from write(lambda: folder.mkdir(parents=True, exist_ok=True))
    try:
        state = find_state(folder)
    except CheckpointError as error:
        yield {"note": str(error)}
    saved = time.monotonic()
    try:
        for result in training.job.run(state, pulse.step):
            yield from write(partial(write_epoch, folder, result))
            yield {"epoch": result.epoch, "metrics": result.metrics}
            if result.epoch in (training.stop_epoch, training.config.epochs):
                yield from write(partial(save_result, training, result))
                break
            if time.monotonic() - saved >= SAVE_INTERVAL_S:
                yield from write(partial(save_state, folder, result.state))
                saved = time.monotonic()
    except DivergedError as error:
        outcome = {"status": DIVERGED, "error": str(error)}
    except Exception as error:  # costs this network and nothing else
        outcome = {"status": FAILED, "error": describe_error(error)}
    end = outcome if outcome["status"] != FINISHED else outcome | {"model": hash_file(folder / MODEL_FILE)}
    text = json.dumps(end, indent=2) + "\n"
    yield from write(lambda: write_whole(folder / RUN_FILE, text))
    if outcome["status"] != FAILED:
        delete_state(folder)
    yield outcome


def write_or_wait(write: Callable[[], object], folder: Path, pulse: Pulse) -> Iterator[dict[str, Any]]:
    """Write something; while the disk is full, yield what to tell of it once, and try again.

    Args:
        write: may be called again after an OSError.
        folder: where it writes.
        pulse: is told that it waits, which is no silence.
    """
    is_told = False
    while True:
        try:
            write()
        except OSError as error:
            if not is_full(error):
                raise
            if not is_told:
                yield {"note": describe_full(folder, error)}
            is_told = True
            pulse.step(WAITING, 0, 0)
            time.sleep(RETRY_SECONDS)
        else:
            return


def save_result(training: Training, result: EpochResult) -> None:
    """Write the network that is kept."""
    state, best = result.state, result.state.best
    if training.stop_epoch is not None:
        best = Best(result.epoch, result.metrics, result.confusion, state.evaluated_network.state_dict())
    save_model(training.folder, best, state.config, state.schema, state.data_fingerprint)


def write_epoch(folder: Path, result: EpochResult) -> None:
    """One epoch's scores and probabilities, complete or not at all."""
    path = folder / EPOCHS_FOLDER / f"{result.epoch:04d}.npz"
    path.parent.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {f"probabilities_{index}": values for index, values in enumerate(result.probabilities)}
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, scores=np.array(json.dumps(result.metrics)), **arrays)


def read_epoch(path: Path, objective: str = metrics.ACCURACY) -> tuple[dict[str, float], list[np.ndarray]]:
    """What `write_epoch` wrote: scores, that of the objective among them, and probabilities [N, C] of each category.

    Raises:
        OSError, ValueError: it is something else.
    """
    arrays = read_arrays(path, {"scores": ("U", 0)}, rest=("f", 2))
    scores = check_form(parse_json(str(arrays.pop("scores"))), dict[str, float])
    if missing := {objective, metrics.TRAIN_SECONDS, metrics.VAL_SECONDS} - scores.keys():
        raise ValueError(f"its scores must have {', '.join(sorted(missing))}, but lack it")
    names = [f"probabilities_{index}" for index in range(len(arrays))]
    if not names or arrays.keys() != set(names) or not all(np.isfinite(values).all() for values in arrays.values()):
        raise ValueError("it must have probabilities of each category, all of them numbers, but has not")
    return scores, [arrays[name] for name in names]


def load_run(training: Training) -> Run:
    """What a training left that ended well.

    Raises:
        CheckpointError: a file of it is gone, or damaged.
    """
    scores: list[dict[str, float]] = []
    parts: list[list[np.ndarray]] = []
    for path in sorted((training.folder / EPOCHS_FOLDER).glob("*.npz")):
        try:
            row, probabilities = read_epoch(path, training.config.objective)
            if parts and [values.shape for values in probabilities] != [values.shape for values in parts[0]]:
                raise ValueError("its arrays are not of the shapes that the first epoch has")
        except (OSError, ValueError) as error:
            remedy = f"delete {training.folder.name}, and promote again"
            raise build_damage(path, "hold an epoch of a re-run", remedy, CheckpointError, error) from None
        scores.append(row)
        parts.append(probabilities)
    expected = training.stop_epoch or training.config.epochs
    if len(parts) != expected or not (training.folder / MODEL_FILE).is_file():
        raise CheckpointError(
            f"a finished re-run has {expected} epochs and a model, but {training.folder.name} has {len(parts)} epochs; "
            "delete its folder, and promote again"
        )
    end = training.end
    if end is not None and end.model is not None and hash_file(training.folder / MODEL_FILE) != end.model:
        fault = "it has changed since it was saved"
        remedy = f"delete {training.folder.name}, and promote again"
        raise build_damage(training.folder / MODEL_FILE, "be the re-run's model", remedy, CheckpointError, fault)
    probabilities = [np.stack(columns) for columns in zip(*parts, strict=True)]
    return Run(training.label, training.seed_number, tuple(scores), probabilities, training.folder)


def train_all(
    trainings: Sequence[Training],
    resources: Resources,
    listener: Listener,
    onlooker: Onlooker | None = None,
    timeout_s: float = TRIAL_TIMEOUT_S,
    libraries: Mapping[str, str] | None = None,
) -> None:
    """Train what is not trained yet, as many at once as the resources say, in order. Ray must be running.

    Args:
        listener: told of every epoch and every end, in this process.
        onlooker: told about every second what each is at, in words, by its name.
        timeout_s: a process that takes no step for so long is ended, as if it had died.
        libraries: versions on this machine, which a node of a cluster must have too, also one that joins meanwhile;
            None: there is no other machine.

    Raises:
        RayLostError: Ray died.
    """
    waiting = [training for training in trainings if training.status is None]
    if not waiting:
        return
    health, beats = Health(Users.servers), None
    try:
        check_ray(health.look())
        name = name_collector()
        beats = Beats(name, name_job(train.__name__, name), timeout_s)
        train_waiting(waiting, resources, listener, onlooker, health, beats, libraries)
    except RayLostError:
        if beats is not None:
            beats.close(is_dead=True)
        lose_ray()
        raise
    else:
        beats.close(is_dead=False)
    finally:
        health.close()


def train_waiting(
    waiting: list[Training],
    resources: Resources,
    listener: Listener,
    onlooker: Onlooker | None,
    health: Health,
    beats: Beats,
    libraries: Mapping[str, str] | None,
) -> None:
    """See `train_all`."""
    remote = ray.remote(
        num_cpus=resources.cpus_per_trial,
        num_gpus=resources.gpus_per_trial,
        max_calls=1 if resources.gpus_per_trial else 0,  # a used process would stay on its old GPU
        num_returns="streaming",
        max_retries=0,  # Ray would pass over as many events as were told: those of before the state it goes on from
    )(run_if_fit)
    running: dict[Any, Training] = {}
    silent: dict[str, str] = {}  # why a process was ended, by the training's name
    deaths: Counter[str] = Counter()  # of its processes, by the training's name
    avoided: set[str] = set()  # nodes that lack what it takes, or have other libraries, as Ray names them
    while waiting or running:
        while waiting and len(running) < resources.concurrent:
            training = waiting.pop(0)
            beats.silence.begin(training.name)
            options = {"name": beats.job} | ({"label_selector": leave_out(avoided)} if avoided else {})
            packed = cloudpickle.dumps((train, (training, beats.name, beats.timeout_s)))
            running[remote.options(**options).remote(libraries, list_needed(training), packed)] = training
        check_ray(health.look())
        names = [training.name for training in running.values()]
        silent |= beats.look(names)
        if onlooker is not None:
            onlooker(beats.tell(names))
        ready, _ = ray.wait(list(running), num_returns=1, timeout=POLL_S, fetch_local=False)
        for stream in ready:
            training = running[stream]
            try:
                event = ray.get(next(stream))
            except StopIteration:
                del running[stream]
                continue
            except ray.exceptions.RayError as error:  # its process died
                check_ray(health.look_closely())
                del running[stream]
                deaths[training.name] += 1
                if deaths[training.name] <= MAX_DEATHS:
                    waiting.insert(0, training)
                    continue
                event = {"status": FAILED, "error": silent.get(training.name) or describe_error(error)}
            silent.pop(training.name, None)  # it gets on
            if MISFIT in event:  # it goes elsewhere
                del running[stream]
                waiting.insert(0, training)
                for note in avoid(event[NODE], event[MISFIT], avoided):
                    listener(training, {"note": note})
                continue
            listener(training, event)


def list_needed(training: Training) -> list[Path]:
    """What a node must see to train it: its files, and where its own are to stand, as far as that is there."""
    job = training.job
    there = next(folder for folder in training.folder.absolute().parents if folder.exists())
    return [there, *(path for path in (job.prepared, job.selection, job.features) if path is not None)]


def avoid(node: str, why: str, avoided: set[str]) -> list[str]:
    """Use a node no more. Gives what to tell, once a node. avoided: those so far."""
    if node in avoided:
        return []
    avoided.add(node)
    return [why, *filter(None, [tell_none_left(avoided)])]


def check_ray(fault: str | None) -> None:
    """Raise RayLostError where something is wrong with Ray."""
    if fault is not None:
        raise RayLostError(fault, "", "the same command goes on where it was cut off")
