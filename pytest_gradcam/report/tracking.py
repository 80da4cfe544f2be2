"""A report in MLflow: its figures as metrics, its files as artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.report import manifest


def log_to_mlflow(directory: str | Path, *, artifact_path: str = "gradcam-report") -> str:
    """Log a report in MLflow, in the run that is active or in a new one, and return the run's id.

    The figures of metrics.json become metrics, the folder becomes artifacts under `artifact_path`, and the tag
    `gradcam.manifest_sha256` says which report it is. Where to is MLflow's own setting (MLFLOW_TRACKING_URI).
    Needs `pytest-gradcam[mlflow]`. Raises ValueError for a report that is not as its manifest says, SettingsError
    where MLflow is not installed.
    """
    directory = Path(directory)
    if changed := list(manifest.differences(directory)):
        raise ValueError(f"{directory} is not as its manifest says ({changed[0]}), so it is not logged")
    mlflow = _mlflow()
    active = mlflow.active_run()
    if active is not None:
        return _log(mlflow, active, directory, artifact_path)
    with mlflow.start_run() as run:
        return _log(mlflow, run, directory, artifact_path)


def _log(mlflow: Any, run: Any, directory: Path, artifact_path: str) -> str:
    mlflow.log_metrics(json.loads((directory / "metrics.json").read_text("utf-8")))
    mlflow.set_tag("gradcam.manifest_sha256", manifest.digest(directory))
    mlflow.log_artifacts(str(directory), artifact_path)
    found: str = run.info.run_id
    return found


def _mlflow() -> Any:
    try:
        import mlflow
    except ModuleNotFoundError:
        raise SettingsError("MLflow is not installed; pip install pytest-gradcam[mlflow]") from None
    return mlflow
