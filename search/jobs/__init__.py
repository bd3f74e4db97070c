"""What a worker does for a search or a promotion: its images, one training, several at once; and Ray itself."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.jobs.cluster import start_ray, stop_ray
    from search.jobs.job import Job, fit_trial
    from search.jobs.material import Material, prepare_material
    from search.jobs.preparation import prepare_job
    from search.jobs.reruns import Run, Training, train_all

__all__ = [
    "Job",
    "Material",
    "Run",
    "Training",
    "fit_trial",
    "prepare_job",
    "prepare_material",
    "start_ray",
    "stop_ray",
    "train_all",
]
__getattr__ = attach(
    __name__,
    {
        "cluster": ["start_ray", "stop_ray"],
        "job": ["Job", "fit_trial"],
        "material": ["Material", "prepare_material"],
        "preparation": ["prepare_job"],
        "reruns": ["Run", "Training", "train_all"],
    },
)
