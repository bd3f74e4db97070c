"""The search around ``fashion_core``: Ray Tune runs it, Optuna proposes, ASHA stops, MLflow shows."""
