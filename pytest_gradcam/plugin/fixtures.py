"""The fixtures: the model, what goes with it, and `gradcam`, its explainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_gradcam.errors import HeatmapError, SettingsError
from pytest_gradcam.evidence.current_test import Objects
from pytest_gradcam.plugin.stash import SETTINGS

if TYPE_CHECKING:
    from pytest_gradcam.explainer import Explainer
    from pytest_gradcam.plugin.session import Models

_MODELS = pytest.StashKey["Models"]()
_T = TypeVar("_T")


@pytest.fixture(scope="session")
def gradcam_model(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Any:
    """The model to explain: a torch.nn.Module, or a callable from a batch to scores.

    It is built from the option gradcam_model. Override it in conftest.py.
    """
    from pytest_gradcam.plugin import session

    def class_names() -> Any:
        return request.getfixturevalue("gradcam_classes")  # only where they are texts that the model reads

    return _or_stop(request, lambda: session.build_model(pytestconfig.stash[SETTINGS], class_names))


@pytest.fixture(scope="session")
def gradcam_preprocess(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Any:
    """The callable from a PIL image to the model's input, a float tensor (C, H, W). Override it in conftest.py."""
    from pytest_gradcam.models import from_settings

    return _or_stop(request, lambda: from_settings.preprocess(pytestconfig.stash[SETTINGS]))


@pytest.fixture(scope="session")
def gradcam_classes(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Any:
    """The class names in the order of the model's scores, or a dict name -> index. Override it in conftest.py."""
    from pytest_gradcam.models import from_settings

    return _or_stop(request, lambda: from_settings.classes(pytestconfig.stash[SETTINGS]))


@pytest.fixture(scope="session")
def gradcam(
    pytestconfig: pytest.Config, gradcam_model: Any, gradcam_preprocess: Any, gradcam_classes: Any
) -> Explainer:
    """The explainer of the model: `gradcam(image, target)` is a heatmap with checks on it."""
    from pytest_gradcam.plugin import session

    objects = Objects(gradcam_model, gradcam_preprocess, gradcam_classes)
    return _or_fail(lambda: session.build_explainer(_models(pytestconfig), objects))


def _models(config: pytest.Config) -> Models:
    """The models of the run, shared by all instances of the fixture: each model is examined once."""
    from pytest_gradcam.plugin import session

    if _MODELS not in config.stash:
        cache = getattr(config, "cache", None)  # not there under -p no:cacheprovider
        directory = None if cache is None else lambda: cache.mkdir("gradcam")
        config.stash[_MODELS] = session.Models(config.stash[SETTINGS], directory)
    return config.stash[_MODELS]


def _or_stop(request: pytest.FixtureRequest, build: Callable[[], _T]) -> _T:
    """What was built. A wrong setting is wrong for every test, so it ends the run at the first."""
    try:
        return build()
    except SettingsError as error:
        problem = str(error)
    request.session.shouldstop = problem
    pytest.fail(problem, pytrace=False)  # not in the block above, which would show the error twice


def _or_fail(build: Callable[[], _T]) -> _T:
    """What was built; a wrong setting fails the test in one line, without a traceback through the plugin."""
    try:
        return build()
    except (SettingsError, HeatmapError) as error:
        problem = str(error)
    pytest.fail(problem, pytrace=False)  # not in the block above, which would show the error twice
