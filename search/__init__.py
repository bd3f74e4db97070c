"""The search around `fashion_core`: Ray Tune runs it, Optuna proposes, ASHA stops, MLflow shows.

```python
from search import SearchOptions, run_search

result = run_search(SearchOptions(data="FashionDataset", space="demo"))
result.trials        # a pandas table: status, scores and parameters of every trial
result.best.params   # of the best trial
result.model()       # its network, loaded
```
"""

from typing import TYPE_CHECKING

from fashion_core.lazy import attach

if TYPE_CHECKING:
    from search.experiment.result import SearchResult, load_search
    from search.experiment.search import plan_search, run_search
    from search.planning.options import SearchOptions
    from search.promotion.options import PromotionOptions, Workplace
    from search.promotion.pipeline import promote
    from search.promotion.result import PromotionResult
    from search.registry.comparing import compare
    from search.registry.models import open_model

__all__ = [
    "PromotionOptions",
    "PromotionResult",
    "SearchOptions",
    "SearchResult",
    "Workplace",
    "compare",
    "load_search",
    "open_model",
    "plan_search",
    "promote",
    "run_search",
]
__getattr__ = attach(
    __name__,
    {
        "experiment.result": ["SearchResult", "load_search"],
        "experiment.search": ["plan_search", "run_search"],
        "planning.options": ["SearchOptions"],
        "promotion.options": ["PromotionOptions", "Workplace"],
        "promotion.pipeline": ["promote"],
        "promotion.result": ["PromotionResult"],
        "registry.comparing": ["compare"],
        "registry.models": ["open_model"],
    },
)
