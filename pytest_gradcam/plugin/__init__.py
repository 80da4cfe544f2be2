"""The pytest side: options, marker, hooks and fixtures. It translates and delegates; it decides nothing.

Nothing here may import numpy or torch: pytest loads this module in every run where the package is installed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gradcam import settings as options
from pytest_gradcam.errors import FocusError, HeatmapError, SettingsError
from pytest_gradcam.evidence import BASELINES
from pytest_gradcam.evidence.current_test import begin, begin_run, current, running_as_made
from pytest_gradcam.plugin.fixtures import gradcam, gradcam_classes, gradcam_model, gradcam_preprocess
from pytest_gradcam.plugin.stash import JOURNALS, MADE, MARKER, ORPHAN, REQUIREMENTS, SETTINGS, name_in_file

if TYPE_CHECKING:
    from pytest_gradcam.plugin.controller import Controller
    from pytest_gradcam.plugin.item import TestItem

_PACKAGE = Path(__file__).parents[1]
_CONTEXTLIB = Path(contextlib.__file__)
__all__ = ["gradcam", "gradcam_classes", "gradcam_model", "gradcam_preprocess"]  # pytest finds the fixtures here

#: Only there where the test has gradcam, or has made a check.
_TEST: pytest.StashKey[TestItem] = pytest.StashKey()
_ORPHANS = pytest.StashKey[dict[Path, list[Path]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    begin_run()  # the first hook of a run: no conftest.py is loaded yet
    group = parser.getgroup("gradcam", "Grad-CAM checks on vision models")
    for option in options.OPTIONS:
        if option.switch:
            group.addoption(option.flag, dest=option.ini, default=None, action="store_true", help=option.help)
            continue
        group.addoption(option.flag, dest=option.ini, default=None, metavar=option.metavar, help=option.help)
        parser.addini(option.ini, option.help, type=option.ini_type, default=None)  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"gradcam({', '.join(f'{key}=...' for key in options.MARKER_KEYS)}): for the heatmaps of this test"
    )
    config.addinivalue_line(
        "markers",
        "gradcam_requirement(name, ...): the requirements that this test is evidence for (docs/trustworthy-ai.md)",
    )
    try:
        options.reject_unknown(_unknown_ini_keys(config))
        config.stash[SETTINGS] = options.resolve(
            {option.name: _from_command_line(config, option) for option in options.OPTIONS},
            {option.name: _from_ini(config, option) for option in options.OPTIONS if not option.switch},
        )
        if (data := config.stash[SETTINGS].data) is not None:
            from pytest_gradcam.plugin import data_set

            data_set.add_to_arguments(config, Path(data))
        worker = getattr(config, "workerinput", None)  # pytest-xdist's mark of a worker
        if worker is None:
            _register(config, config.stash[SETTINGS])
        elif JOURNALS in worker:
            from pytest_gradcam.report.journal import WorkerJournal

            config.stash[MADE] = WorkerJournal(Path(worker[JOURNALS]), worker["workerid"]).made
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None


def _unknown_ini_keys(config: pytest.Config) -> Iterable[str]:
    """The keys that nobody registered, from a private method of pytest. Without it none, and pytest's own warning stays."""
    try:
        return tuple(config._get_unknown_ini_keys())
    except (AttributeError, TypeError):
        return ()


def _register(config: pytest.Config, settings: options.Settings) -> None:
    """The plugins of the process that sees all tests, as far as the settings ask for them, or pytest-xdist does."""
    spread = getattr(config.option, "dist", "no") != "no"
    if spread or any(each is not None for each in (settings.report, settings.compare, settings.data)):
        controller = _controller(config)
    if config.option.collectonly:
        return
    if settings.report is not None:
        from pytest_gradcam.report import write

        write.refuse_foreign(Path(settings.report), "gradcam_report")
    if settings.compare is not None:
        from pytest_gradcam.evidence import baseline_paths
        from pytest_gradcam.plugin.ratchet import Ratchet

        old = Path(baseline_paths.shown(Path(settings.compare)))
        ratchet = Ratchet(old, settings.fail_on_regression, controller.records)
        config.pluginmanager.register(ratchet, "gradcam-ratchet")


def _controller(config: pytest.Config) -> Controller:
    from pytest_gradcam.plugin.controller import Controller

    controller = Controller(config, config.stash[SETTINGS])
    config.pluginmanager.register(controller, "gradcam-controller")
    config.stash[MADE] = controller.made
    return controller


def _is_gathering(config: pytest.Config) -> bool:
    """Whether evidence has a place to go: the controller or, in a worker of pytest-xdist, what it said."""
    return MADE in config.stash or hasattr(config, "workerinput")


def _from_command_line(config: pytest.Config, option: options.Option) -> Any:
    value = config.getoption(option.ini)
    return None if value is None else _located(option, value, config.invocation_params.dir)


def _from_ini(config: pytest.Config, option: options.Option) -> Any:
    folder = config.rootpath if config.inipath is None else config.inipath.parent
    try:
        value = config.getini(option.ini)
        return None if value is None else _located(option, value, folder)
    except (
        TypeError,
        ValueError,
        pytest.UsageError,
    ) as error:  # of a type that is not the option's; pytest names no option
        raise SettingsError(f"{option.ini}: {error}") from None


def _located(option: options.Option, value: Any, folder: Path) -> Any:
    from pytest_gradcam.plugin import locations

    return locations.located(option, value, folder)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The folder of gradcam_data is a module of tests."""
    wanted = parent.config.stash[SETTINGS].data
    if wanted is None or path != Path(wanted).resolve():
        return None
    from pytest_gradcam.plugin.data_set import DataSet

    return DataSet.from_parent(parent, path=path)


@pytest.hookimpl(tryfirst=True)  # before any test is deselected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[_ORPHANS] = _orphans(config, items)
    for item in items:
        markers = list(item.iter_markers("gradcam"))
        try:
            if any(mark.args for mark in markers):
                raise SettingsError("@pytest.mark.gradcam takes keywords only")
            item.stash[MARKER] = options.resolve_marker(mark.kwargs for mark in reversed(markers))
            item.stash[REQUIREMENTS] = _requirements(item)
        except SettingsError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None
        if "hypothesis" in sys.modules and isinstance(item, pytest.Function) and _has_gradcam(item):
            from pytest_gradcam.plugin import hypothesis_support

            hypothesis_support.suit(item.obj, item.config.stash[SETTINGS].examples)
    if not _is_gathering(config) and (config.stash[_ORPHANS] or any(map(_may_check, items))):
        _controller(config)


def _orphans(config: pytest.Config, items: list[pytest.Item]) -> dict[Path, list[Path]]:
    """The baselines that belong to no test, by the test file they lie next to; none unless whole files were collected."""
    if config.getoption("lf", False) or any("::" in argument for argument in config.args):
        return {}
    files = {file for file in {item.path for item in items} if (file.parent / BASELINES).is_dir()}
    if not files:
        return {}
    from pytest_gradcam.evidence import baseline_paths

    tests: dict[Path, list[str]] = {file: [] for file in files}
    for item in items:
        if item.path in files:
            tests[item.path].append(name_in_file(item))
    return {file: baseline_paths.orphans(file, names) for file, names in tests.items()}


def _requirements(item: pytest.Item) -> tuple[str, ...]:
    """The requirements of the closest marker. Raises SettingsError if it names none, or an unknown one."""
    marker = item.get_closest_marker("gradcam_requirement")
    if marker is None:
        return ()
    if marker.kwargs or not marker.args:
        raise SettingsError("@pytest.mark.gradcam_requirement takes the names of requirements")
    from pytest_gradcam.evidence import requirements

    return requirements.resolve(marker.args)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """A setting that names something missing stops the run before its first test, once."""
    fixtures = (name for item in session.items for name in getattr(item, "fixturenames", ()))
    if session.config.option.collectonly or not any(name.startswith("gradcam") for name in fixtures):
        return None
    from pytest_gradcam.plugin import look_up

    problem = look_up.problem(session.config.stash[SETTINGS], session.items)
    if not problem:
        return None
    if not hasattr(session.config, "workerinput"):
        raise pytest.UsageError(problem)
    session.shouldstop = problem  # the process that runs the workers reports it
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    for path in item.config.stash.get(_ORPHANS, {}).pop(item.path, ()):  # with the first test of the file that runs
        from pytest_gradcam.evidence import baseline_paths

        item.user_properties.append((ORPHAN, baseline_paths.shown(path)))
    if _TEST in item.stash:  # of an earlier start of the same test
        del item.stash[_TEST]
    with running_as_made(partial(_begin_test, item)):
        return (yield)


def _begin_test(item: pytest.Item) -> TestItem:
    """The test as checks see it. Where it has no gradcam, its first check asks for it, and no other test pays for it."""
    from pytest_gradcam.plugin.item import TestItem

    if not _is_gathering(item.config):
        _controller(item.config).join(item)
    test = item.stash[_TEST] = TestItem(item)
    test.begin()
    return test


def _has_gradcam(item: pytest.Item) -> bool:
    return "gradcam" in getattr(item, "fixturenames", ())


def _may_check(item: pytest.Item) -> bool:
    return _has_gradcam(item) or item.get_closest_marker("gradcam") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    try:
        with _no_repeats(item):
            return (yield)
    finally:
        if (test := item.stash.get(_TEST, None)) is not None:
            test.ended = True
            if test.tries is not None:
                test.tries.close()


def _no_repeats(item: pytest.Item) -> contextlib.AbstractContextManager[None]:
    if "hypothesis" not in sys.modules or not isinstance(item, pytest.Function) or not _has_gradcam(item):
        return contextlib.nullcontext()
    from pytest_gradcam.plugin import hypothesis_support

    return hypothesis_support.no_repeats(item.obj)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that is rerun, for example because it is flaky, counts its checks and baselines from the start again."""
    begin()
    if _TEST in item.stash:
        item.stash[_TEST].begin()
    elif _has_gradcam(item) or any(mark.name == "gradcam" for mark in item.own_markers):
        current()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An error of ours is shown at the user's line: its message says all that our own frames would."""
    test = item.stash.get(_TEST, None)
    if call.excinfo is not None:
        if _is_ours(call.excinfo):
            # Blocks of ours that are generators are entered and left by the standard library.
            call.excinfo.traceback = call.excinfo.traceback.filter(lambda entry: Path(entry.path) != _CONTEXTLIB)
            for entry in call.excinfo.traceback:
                if Path(entry.path).is_relative_to(_PACKAGE):
                    entry.frame.raw.f_globals["__tracebackhide__"] = _is_ours
        if test is not None and call.when != "teardown" and not _is_skip(call.excinfo.value):
            test.ended_by(call.excinfo.value)
    report = yield
    if test is None:
        return report
    if call.when == "call" and report.outcome == "passed" and test.ended:  # not a part of it, as subtests are
        _demand_a_check(test, report)
    if test.pictures and item.config.pluginmanager.hasplugin("html"):
        from pytest_gradcam.plugin import attachments

        extras = [extra for extra in map(attachments.html_extra, test.pictures) if extra is not None]
        vars(report)["extras"] = [*getattr(report, "extras", []), *extras]
    test.pictures.clear()
    return report


def _demand_a_check(test: TestItem, report: pytest.TestReport) -> None:
    """A test that must make a check and made none fails, even if it was expected to fail, since that is another reason."""
    if test.unchecked() == "fail":
        report.outcome = "failed"
        report.longrepr = (
            f"{test.id} uses gradcam but made no check; call an assert_... method, with parentheses, or mark the test with "
            "@pytest.mark.gradcam(unchecked='allow')"
        )
        vars(report).pop("wasxfail", None)


def _is_skip(error: BaseException) -> bool:
    """Whether a test ended without a failure: including unittest's way of skipping, which is not imported for this."""
    unittest = sys.modules.get("unittest")
    return isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception, getattr(unittest, "SkipTest", ())))


def _is_ours(excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
    return isinstance(excinfo.value, (FocusError, HeatmapError))
