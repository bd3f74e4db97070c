"""What a worker does for a search or a promotion: its images, one training, several at once; and Ray itself."""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.jobs.cluster import join_ray, use_ray
    from search.jobs.images import Images, prepare_images
    from search.jobs.material import Material, prepare_material
    from search.jobs.reruns import Run, Training, train_all
    from search.jobs.training import JobSite, TrainingJob

__all__ = [
    "Images",
    "JobSite",
    "Material",
    "Run",
    "Training",
    "TrainingJob",
    "join_ray",
    "prepare_images",
    "prepare_material",
    "train_all",
    "use_ray",
]
__getattr__ = attach(
    __name__,
    {
        "cluster": ["join_ray", "use_ray"],
        "images": ["Images", "prepare_images"],
        "material": ["Material", "prepare_material"],
        "reruns": ["Run", "Training", "train_all"],
        "training": ["JobSite", "TrainingJob"],
    },
)
