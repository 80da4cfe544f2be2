"""The pytest side: options, marker, hooks and fixtures. It translates and delegates; it decides nothing.

Nothing here may import numpy or torch: pytest loads this module in every run where the package is installed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

from pytest_gradcam import settings as options
from pytest_gradcam.errors import FocusError, HeatmapError, SettingsError
from pytest_gradcam.evidence import baseline_paths
from pytest_gradcam.evidence.current_test import current, running
from pytest_gradcam.plugin.controller import ORPHAN, PROPERTY, WRITTEN, Controller

if TYPE_CHECKING:
    from PIL.Image import Image

    from pytest_gradcam.evidence.record import Record
    from pytest_gradcam.explainer import Explainer
    from pytest_gradcam.plugin.hypothesis_support import Tries

_SETTINGS = pytest.StashKey[options.Settings]()
_MARKER = pytest.StashKey[Mapping[str, Any]]()
_REQUIREMENTS = pytest.StashKey[tuple[str, ...]]()
_PACKAGE = Path(__file__).parents[1]
_ORPHANS = pytest.StashKey[dict[Path, list[Path]]]()
_T = TypeVar("_T")


def pytest_addoption(parser: pytest.Parser) -> None:
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
        "markers", "gradcam_requirement(name, ...): what the evidence of this test speaks to (docs/trustworthy-ai.md)"
    )
    # Private, and the only way to keys that nobody registered; without it pytest's own warning stays.
    unknown: Iterable[str] = getattr(config, "_get_unknown_ini_keys", tuple)()
    try:
        options.reject_unknown(unknown)
        config.stash[_SETTINGS] = options.resolve(
            {option.name: config.getoption(option.ini) for option in options.OPTIONS},
            {option.name: _from_ini(config, option) for option in options.OPTIONS if not option.switch},
        )
        if not hasattr(config, "workerinput"):  # pytest-xdist's mark of a worker
            _register(config, config.stash[_SETTINGS])
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None


def _register(config: pytest.Config, settings: options.Settings) -> None:
    """The plugins of the process that sees all tests."""
    controller = Controller(config, settings)
    config.pluginmanager.register(controller, "gradcam-controller")
    if settings.compare is not None and not config.option.collectonly:
        from pytest_gradcam.plugin.ratchet import Ratchet

        old = next(
            (path for path in (Path(settings.compare), config.rootpath / settings.compare) if path.exists()), None
        )
        ratchet = Ratchet(old or Path(settings.compare), settings.fail_on_regression, controller.records)
        config.pluginmanager.register(ratchet, "gradcam-ratchet")


def _from_ini(config: pytest.Config, option: options.Option) -> Any:
    try:
        return config.getini(option.ini)
    except (
        TypeError,
        ValueError,
        pytest.UsageError,
    ) as error:  # of a type that is not the option's; pytest names no option
        raise SettingsError(f"{option.ini}: {error}") from None


@pytest.hookimpl(tryfirst=True)  # before any test is deselected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    config.stash[_ORPHANS] = _orphans(config, items)
    for item in items:
        markers = list(item.iter_markers("gradcam"))
        try:
            if any(mark.args for mark in markers):
                raise SettingsError("@pytest.mark.gradcam takes keywords only")
            item.stash[_MARKER] = options.resolve_marker(mark.kwargs for mark in reversed(markers))
            item.stash[_REQUIREMENTS] = _requirements(item)
        except SettingsError as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None
        if "hypothesis" in sys.modules and isinstance(item, pytest.Function) and "gradcam" in item.fixturenames:
            from pytest_gradcam.plugin import hypothesis_support

            hypothesis_support.suit(item.obj, item.config.stash[_SETTINGS].examples)


def _orphans(config: pytest.Config, items: list[pytest.Item]) -> dict[Path, list[Path]]:
    """The baselines of no test, by the test file beside which they lie; none unless whole files were collected."""
    if config.getoption("lf", False) or any("::" in argument for argument in config.args):
        return {}
    tests: dict[Path, list[str]] = {}
    for item in items:
        tests.setdefault(item.path, []).append(_name(item))
    return {file: baseline_paths.orphans(file, names) for file, names in tests.items()}


def _name(item: pytest.Item) -> str:
    """The test's id within its file."""
    return item.nodeid.partition("::")[2]


def _requirements(item: pytest.Item) -> tuple[str, ...]:
    """What the closest marker says. Raises SettingsError for one that says nothing, or nothing known."""
    marker = item.get_closest_marker("gradcam_requirement")
    if marker is None:
        return ()
    if marker.kwargs or not marker.args:
        raise SettingsError("@pytest.mark.gradcam_requirement takes the names of requirements")
    from pytest_gradcam.evidence import requirements

    return requirements.resolve(marker.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    for path in item.config.stash.get(_ORPHANS, {}).pop(item.path, ()):  # with the first test of the file that runs
        item.user_properties.append((ORPHAN, baseline_paths.shown(path)))
    test = item.stash[_TEST] = _Item(item)
    with running(test):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        if isinstance(test := current(), _Item) and test.tries is not None:
            test.tries.close()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A test that runs again, as reruns of flaky ones do, begins with its first check and baseline again."""
    if isinstance(test := current(), _Item):
        test.begin()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An error of ours is shown at the user's line: its message says what our own frames would."""
    test = item.stash[_TEST]
    if call.excinfo is not None:
        if _is_ours(call.excinfo):
            for entry in call.excinfo.traceback:
                if Path(entry.path).is_relative_to(_PACKAGE):
                    entry.frame.raw.f_globals["__tracebackhide__"] = _is_ours
        if call.when != "teardown" and not _is_skip(call.excinfo.value):
            test.ended_by(call.excinfo.value)
    report = yield
    if test.pictures and item.config.pluginmanager.hasplugin("html"):
        from pytest_gradcam.plugin import attachments

        extras = [extra for extra in map(attachments.html_extra, test.pictures) if extra is not None]
        vars(report)["extras"] = [*getattr(report, "extras", []), *extras]
    test.pictures.clear()
    return report


def _is_skip(error: BaseException) -> bool:
    """Whether a test ended without a failure: unittest's way of skipping too, which is not imported for this."""
    unittest = sys.modules.get("unittest")
    return isinstance(error, (pytest.skip.Exception, pytest.xfail.Exception, getattr(unittest, "SkipTest", ())))


def _is_ours(excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
    return isinstance(excinfo.value, (FocusError, HeatmapError))


class _Item:
    """The test item as checks see it: its markers, and a place for its records."""

    def __init__(self, item: pytest.Item) -> None:
        self.marker = item.stash.get(_MARKER, {})
        self.path = item.path
        self.name = _name(item)
        self.updates = item.config.stash[_SETTINGS].update
        self.baselines: list[str] = []
        self.tries: Tries | None = None  # under Hypothesis' @given
        self.pictures: list[str] = []  # of the phase that runs
        self._item = item
        self._checks = 0
        self._failed = False
        self._since = time.perf_counter()

    def begin(self) -> None:
        """Nothing is kept of an earlier try of the test."""
        self.baselines.clear()
        self._checks, self._failed, self._since = 0, False, time.perf_counter()
        kept = self._item.user_properties
        kept[:] = [(name, value) for name, value in kept if name != PROPERTY]

    def wrote(self, path: Path) -> None:
        self._item.user_properties.append((WRITTEN, baseline_paths.shown(path)))

    def keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        if "hypothesis" in sys.modules:
            from pytest_gradcam.plugin import hypothesis_support

            if (example := hypothesis_support.example()) is not None:
                self.tries = self.tries or hypothesis_support.Tries(self._keep, self._item.nodeid)
                return self.tries.add(example, record, draw)
        return self._keep(record, draw)

    def _keep(self, record: Record, draw: Callable[[Record], Image]) -> Record:
        from pytest_gradcam.plugin import session

        config = self._item.config
        self._checks += 1
        kept = session.keep(
            record,
            draw,
            test_id=self._item.nodeid,
            check=self._checks,
            settings=config.stash[_SETTINGS],
            root=config.rootpath,
            requirements=self._item.stash.get(_REQUIREMENTS, ()),
            duration=time.perf_counter() - self._since,
        )
        self._item.user_properties.append((PROPERTY, json.dumps(kept.to_plain())))
        self._failed |= kept.outcome != "passed"
        if kept.picture:
            self.pictures.append(kept.picture)
            if config.pluginmanager.hasplugin("allure_listener"):
                from pytest_gradcam.plugin import attachments

                attachments.to_allure(kept.picture, kept.check)
        self._since = time.perf_counter()
        return kept

    def skip(self, reason: str) -> NoReturn:
        pytest.skip(reason)

    def ended_by(self, error: BaseException) -> None:
        """A test with the fixture that ends otherwise than by a check of ours leaves a record that says why."""
        told = self._failed and isinstance(error, (FocusError, HeatmapError, BaseExceptionGroup))
        if told or "gradcam" not in getattr(self._item, "fixturenames", ()):
            return
        from pytest_gradcam.plugin import session

        self._checks += 1
        record = session.broken(
            error,
            test_id=self._item.nodeid,
            check=self._checks,
            requirements=self._item.stash.get(_REQUIREMENTS, ()),
        )
        self._item.user_properties.append((PROPERTY, json.dumps(record.to_plain())))


_TEST = pytest.StashKey[_Item]()


@pytest.fixture(scope="session")
def gradcam_model(pytestconfig: pytest.Config) -> Any:
    """The model to explain, a torch.nn.Module: built from the option gradcam_model. Override it in conftest.py."""
    from pytest_gradcam.plugin import session

    return _or_fail(lambda: session.build_model(pytestconfig.stash[_SETTINGS]))


@pytest.fixture(scope="session")
def gradcam_preprocess(pytestconfig: pytest.Config) -> Any:
    """The callable from a PIL image to the model's input, a float tensor (C, H, W). Override it in conftest.py."""
    from pytest_gradcam.plugin import session

    return _or_fail(lambda: session.build_preprocess(pytestconfig.stash[_SETTINGS]))


@pytest.fixture(scope="session")
def gradcam_classes(pytestconfig: pytest.Config) -> Any:
    """The class names in the order of the model's scores, or a dict name -> index. Override it in conftest.py."""
    from pytest_gradcam.plugin import session

    return _or_fail(lambda: session.build_classes(pytestconfig.stash[_SETTINGS]))


@pytest.fixture(scope="session")
def gradcam(
    pytestconfig: pytest.Config, gradcam_model: Any, gradcam_preprocess: Any, gradcam_classes: Any
) -> Explainer:
    """The explainer of the model: `gradcam(image, target)` is a heatmap with checks on it."""
    from pytest_gradcam.plugin import session

    cache = getattr(pytestconfig, "cache", None)  # not there under -p no:cacheprovider

    return _or_fail(
        lambda: session.build_explainer(
            pytestconfig.stash[_SETTINGS],
            gradcam_model,
            gradcam_preprocess,
            gradcam_classes,
            cache_directory=cache.mkdir("gradcam") if cache else None,
        )
    )


def _or_fail(build: Callable[[], _T]) -> _T:
    """What was built; a wrong setting fails the test in one line, without a traceback through the plugin."""
    try:
        return build()
    except (SettingsError, HeatmapError) as error:
        pytest.fail(str(error), pytrace=False)
