"""Ray Tune's workers without processes: its controller runs as it is, and its trials in this process, in turn.

Ten thousand trials on real workers take hours, most of which says nothing about the driver. Here the controller's calls
to its actors are answered at once by objects of the same trainable. What is missing is the cost of a remote call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ray.air.execution._internal.tracked_actor import TrackedActor

Call = tuple[TrackedActor, Callable[[], Any], Callable[..., None] | None]


class DirectActor:
    """In the place of a handle: what the controller asks of it outside its manager."""

    def __init__(self, trainable: Any) -> None:
        self.trainable = trainable
        self.get_auto_filled_metrics = self

    def remote(self, **options: Any) -> dict[str, Any]:
        metrics: dict[str, Any] = self.trainable.get_auto_filled_metrics(**options)
        return metrics


class DirectActorManager:
    """In the place of Ray's `RayActorManager`: the part of it that Tune's controller uses.

    Calls wait in a queue; `next` runs the oldest one. An error of a trial's own goes through, and ends the benchmark.
    """

    def __init__(self, resource_manager: Any) -> None:
        self.calls: deque[Call] = deque()
        self._live_actors_to_ray_actors_resources: dict[TrackedActor, tuple[DirectActor, None]] = {}
        self.started = 0

    @property
    def num_live_actors(self) -> int:
        return len(self._live_actors_to_ray_actors_resources)

    num_total_actors = num_live_actors
    num_pending_actors = 0

    @property
    def num_actor_tasks(self) -> int:
        return len(self.calls)

    def get_live_actors_resources(self) -> dict[str, float]:
        return {}

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        return False

    def add_actor(
        self, cls: Any, kwargs: dict[str, Any], resource_request: Any, *, on_start: Any, on_stop: Any, on_error: Any
    ) -> TrackedActor:
        actor = TrackedActor(self.started, on_start=on_start, on_stop=on_stop, on_error=on_error)
        self.started += 1
        build = cls.__ray_metadata__.modified_class

        def start() -> None:
            self._live_actors_to_ray_actors_resources[actor] = (DirectActor(build(**kwargs)), None)

        self.calls.append((actor, start, lambda tracked, result: on_start(tracked)))
        return actor

    def remove_actor(self, tracked_actor: TrackedActor, kill: bool = False, stop_future: Any = None) -> bool:
        if not self.is_actor_started(tracked_actor):
            self.clear_actor_task_futures(tracked_actor)
            return False

        def remove() -> None:
            del self._live_actors_to_ray_actors_resources[tracked_actor]

        def tell(tracked: TrackedActor, result: None) -> None:
            if tracked._on_stop is not None:
                tracked._on_stop(tracked)

        self.calls.append((tracked_actor, remove, tell))
        return True

    def schedule_actor_task(
        self,
        tracked_actor: TrackedActor,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        on_result: Callable[..., None] | None = None,
        on_error: Any = None,
        _return_future: bool = False,
    ) -> object:
        def call() -> Any:
            actor, _ = self._live_actors_to_ray_actors_resources[tracked_actor]
            return getattr(actor.trainable, method_name)(*(args or ()), **(kwargs or {}))

        self.calls.append((tracked_actor, call, on_result))
        return object()

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        self.calls = deque(call for call in self.calls if call[0] is not tracked_actor)

    def next(self, timeout: float | None = None) -> bool:
        if not self.calls:
            return False
        actor, call, on_result = self.calls.popleft()
        result = self.work(call)
        if on_result is not None:
            on_result(actor, result)
        return True

    def work(self, call: Callable[[], Any]) -> Any:
        """What a worker would do; a method of its own, so that its time can be told from the driver's."""
        return call()

    def cleanup(self) -> None:
        self.calls.clear()
        self._live_actors_to_ray_actors_resources.clear()
