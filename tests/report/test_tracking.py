"""A report in MLflow: what is found there again, in a store of files."""

import json
import sys

import pytest

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Report, Run, log_to_mlflow, manifest
from pytest_gradcam.report.write import write


@pytest.fixture
def report(tmp_path):
    record = Record(
        check="focus_within", measure="relevance mass", bound=0.5, figure=0.25, outcome="failed", test="t::a"
    )
    write(Report((Run(id="1", checks=(record,)),)), tmp_path / "report")
    return tmp_path / "report"


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """MLflow with a store of files, which has to be asked for since 3.13 (a database needs more packages)."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    found = pytest.importorskip("mlflow")
    found.set_tracking_uri((tmp_path / "runs").as_uri())
    return found


@pytest.mark.filterwarnings("default")
class TestInMLflow:
    def test_figures_files_and_digest_are_found_again(self, report, mlflow, tmp_path):
        run_id = log_to_mlflow(report)
        run = mlflow.get_run(run_id)
        assert run.data.metrics == json.loads((report / "metrics.json").read_text())
        assert run.data.metrics["focus_within.figure_mean"] == 0.25
        assert run.data.tags["gradcam.manifest_sha256"] == manifest.digest(report)
        assert mlflow.active_run() is None
        assert run.info.status == "FINISHED"
        fetched = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="gradcam-report", dst_path=tmp_path)
        assert list(manifest.differences(tmp_path / "gradcam-report")) == []
        assert fetched

    def test_it_goes_into_the_run_that_is_active(self, report, mlflow):
        with mlflow.start_run() as active:
            assert log_to_mlflow(report, artifact_path="attention") == active.info.run_id
            assert mlflow.active_run().info.run_id == active.info.run_id
        names = [each.path for each in mlflow.MlflowClient().list_artifacts(active.info.run_id, "attention")]
        assert "attention/evidence.json" in names

    def test_a_changed_report_is_not_logged(self, report, mlflow):
        (report / "metrics.json").write_text("{}")
        with pytest.raises(ValueError, match="not as its manifest says .*metrics.json.*so it is not logged"):
            log_to_mlflow(report)
        assert mlflow.search_runs(output_format="list") == []


def test_without_the_extra_it_is_named(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SettingsError, match=r"MLflow is not installed; pip install pytest-gradcam\[mlflow\]"):
        log_to_mlflow(report)
