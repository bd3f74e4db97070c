"""Pixels and labels in, a trained attribute network out. Knows nothing of Ray, Optuna or MLflow."""
