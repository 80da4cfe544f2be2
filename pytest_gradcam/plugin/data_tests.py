"""The tests of a folder of images: one for each image, and the verdicts on the set. Collected by `data_set.DataSet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_gradcam.errors import FocusError

if TYPE_CHECKING:
    from pytest_gradcam.data import Audit, Case
    from pytest_gradcam.data.folder import Folder
    from pytest_gradcam.explainer import Explainer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder: Folder = cast("Any", metafunc.definition.parent).folder
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", list(folder.found))
    if "check" in metafunc.fixturenames:
        metafunc.parametrize("check", _checks(folder))
    if "equal_by" in metafunc.fixturenames:
        metafunc.parametrize("equal_by", folder.equal_by)
    if "reliance_by" in metafunc.fixturenames:
        metafunc.parametrize("reliance_by", [None, *folder.no_reliance_by], ids=lambda by: by or "all")


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Folder:
    return cast("Any", request.node).folder  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def audit(
    gradcam: Explainer, folder: Folder, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Audit:
    rows = None if folder.rows is None else folder.path / folder.rows
    if rows is None and hasattr(request.config, "workerinput"):
        # The workers of pytest-xdist share the folder above their own: the first makes the rows, the others read them.
        rows = tmp_path_factory.getbasetemp().parent / f"{folder.path.name}.rows.jsonl"
    return gradcam.audit(folder.found, folder.checks, rows=rows, name=folder.path.name)


def test_image(audit: Audit, folder: Folder, case: Case) -> None:
    try:
        audit.assert_case(case)
    except FocusError as error:
        if folder.at_least is None:
            raise
        pytest.xfail(str(error))  # how many may fail is what the verdict on the set says


def test_rate(audit: Audit, folder: Folder, check: str) -> None:
    audit.assert_rate(check, at_least=folder.bound, confidence=folder.confidence)


def test_slices_equal(audit: Audit, folder: Folder, check: str, equal_by: str) -> None:
    audit.assert_slices_equal(check, by=equal_by, margin=folder.margin, confidence=folder.confidence)


def test_no_reliance(audit: Audit, reliance_by: str | None) -> None:
    audit.assert_no_reliance(by=reliance_by)


def _checks(folder: Folder) -> list[str]:
    from pytest_gradcam.data.plan import plan

    planned = plan(folder.checks)
    return list(dict.fromkeys(each.check.name for case in folder.found for each in planned.of(case)))
