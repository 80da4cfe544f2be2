"""The seven key requirements: every kind of check has a default, and names are checked at the door."""

import ast
from pathlib import Path

import pytest

import pytest_gradcam
import pytest_gradcam.heatmap  # with the checks that are objects
from pytest_gradcam.errors import SettingsError
from pytest_gradcam.evidence import requirements
from pytest_gradcam.evidence.check import Check

PACKAGE = Path(pytest_gradcam.__file__).parent


def kinds(check=Check):
    """The kinds of checks in the package's code: the names of its checks, and what Record(check=...) is called with."""
    yield from (found for found in [vars(check).get("name")] if found)
    for kind in check.__subclasses__():
        yield from kinds(kind)
    for path in PACKAGE.rglob("*.py") if check is Check else ():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                named = [keyword.value for keyword in node.keywords if keyword.arg == "check"]
                yield from (one.value for one in named if isinstance(one, ast.Constant) and one.value)


def test_every_kind_of_check_has_a_default_of_its_own():
    found = {kind for kind in kinds() if isinstance(kind, str)}
    assert {"focus_within", "overlap", "ignores", "no_reliance", "stable", "matches_baseline", "test"} <= found
    assert found <= set(requirements.BY_CHECK)


def test_defaults_are_requirements():
    for names in requirements.BY_CHECK.values():
        assert requirements.resolve(names) == names


def test_a_kind_from_elsewhere_has_one_too():
    assert requirements.of_check("a_users_own") == ("technical robustness and safety",)


def test_names_come_in_the_order_of_the_guidelines_each_once():
    asked = ["Transparency", "human agency and oversight", "transparency "]
    assert requirements.resolve(asked) == ("human agency and oversight", "transparency")


@pytest.mark.parametrize("name", ["transparancy", "", 3, None])
def test_others_are_refused(name):
    with pytest.raises(SettingsError, match="expected one of 'human agency and oversight'"):
        requirements.resolve([name])


def test_the_documentation_names_every_kind_and_requirement():
    text = (Path(__file__).parents[2] / "docs" / "trustworthy-ai.md").read_text("utf-8")
    assert [kind for kind in requirements.BY_CHECK if f"`{kind}`" not in text] == []
    words = " ".join(text.split())
    assert [name for name in requirements.REQUIREMENTS if name not in words] == []
