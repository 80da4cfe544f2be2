"""Evidence as people and machines read it. Knows neither models nor pytest."""

from pytest_gradcam.report.document import Report, Run, load, schema

__all__ = ["Report", "Run", "load", "schema"]
