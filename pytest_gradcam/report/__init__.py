"""Evidence as people and machines read it. Knows neither models nor pytest."""

from pytest_gradcam.report.document import Report, Run, load, schema
from pytest_gradcam.report.tracking import log_to_mlflow

__all__ = ["Report", "Run", "load", "log_to_mlflow", "schema"]
