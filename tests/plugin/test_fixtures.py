"""The explainer is of the model, the preprocess and the classes that the same test sees."""

import pytest

pytestmark = pytest.mark.usefixtures("warm")

#: A folder's own model: class 0 is one colour, class 1 another.
CONFTEST = """
import pytest
from colour import Colour

@pytest.fixture(scope="session")
def gradcam_model():
    model = Colour()
    model.features.weight.data = model.features.weight.data[:, {order}]
    return model

@pytest.fixture(scope="session")
def gradcam_classes():
    return {names}
"""

TEST = """
def test_it(gradcam, gradcam_model):
    assert gradcam.model is gradcam_model
    assert gradcam("{square}").target == "{target}"
"""


@pytest.fixture
def folders(colour_project):
    """Two folders with a model each: in `second` the channels are swapped and the classes have other names."""
    for name, order, names in (("first", [0, 1, 2], ["red", "green"]), ("second", [1, 0, 2], ["rot", "gruen"])):
        folder = colour_project.mkdir(name)
        (folder / "conftest.py").write_text(CONFTEST.format(order=order, names=names))
    return colour_project


def test_two_folders_with_a_model_each(folders):
    for name, target in (("first", "red"), ("second", "gruen")):
        test = TEST.format(square=(folders.path / "square.png").as_posix(), target=target)
        (folders.path / name / f"test_{name}.py").write_text(test)
    folders.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_test_in_another_order_sees_its_own(folders):
    for name, target in (("first", "red"), ("second", "gruen")):
        test = TEST.format(square=(folders.path / "square.png").as_posix(), target=target)
        (folders.path / name / f"test_{name}.py").write_text(test)
    folders.runpytest_inprocess("second", "first", "second").assert_outcomes(passed=2)


def test_fixtures_that_use_the_explainer_ask_the_model_of_their_test(folders):
    (folders.path / "conftest.py").write_text(
        f"""
import pytest

@pytest.fixture
def predicted(gradcam):
    return gradcam({(folders.path / "square.png").as_posix()!r}).target
"""
    )
    for name, target in (("first", "red"), ("second", "gruen")):
        test = f"def test_it(predicted):\n    assert predicted == {target!r}\n"
        (folders.path / name / f"test_{name}.py").write_text(test)
    folders.runpytest_inprocess().assert_outcomes(passed=2)


def test_the_fixture_asked_for_by_name(folders):
    for name, target in (("first", "red"), ("second", "gruen")):
        square = (folders.path / "square.png").as_posix()
        test = (
            f"def test_it(request):\n    assert request.getfixturevalue('gradcam')({square!r}).target == {target!r}\n"
        )
        (folders.path / name / f"test_{name}.py").write_text(test)
    folders.runpytest_inprocess().assert_outcomes(passed=2)


def test_without_the_private_request_of_an_item_what_cannot_be_told_is_refused(folders):
    """pytest keeps the request of an item in a private attribute; without it nothing is guessed."""
    (folders.path / "conftest.py").write_text("def pytest_runtest_call(item):\n    del item._request\n")
    for name in ("first", "second"):
        square = (folders.path / "square.png").as_posix()
        test = f"def test_it(request):\n    request.getfixturevalue('gradcam')({square!r})\n"
        asked = TEST.format(square=square, target="red" if name == "first" else "gruen")
        (folders.path / name / f"test_{name}.py").write_text(asked)
        (folders.path / name / f"test_by_name_{name}.py").write_text(
            "import pytest\n"
            "@pytest.fixture(scope='session')\n"
            "def lazy():\n    return None\n" + test.replace("(request)", "(request, lazy)")
        )
    result = folders.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*it is not known which gradcam_model this test sees; expected gradcam among *"])
    assert result.parseoutcomes()["passed"] == 2


def test_a_model_for_each_parameter(colour_project):
    colour_project.makeconftest(
        """
        import pytest
        from colour import Colour

        @pytest.fixture(scope="session", params=[[0, 1, 2], [1, 0, 2]], ids=["as is", "swapped"])
        def gradcam_model(request):
            model = Colour()
            model.features.weight.data = model.features.weight.data[:, request.param]
            return model
        """
    )
    colour_project.makepyfile(
        """
        def test_it(gradcam, gradcam_model, request):
            wanted = "red" if "as is" in request.node.name else "green"
            assert gradcam.model is gradcam_model
            assert gradcam("square.png").target == wanted
        """
    )
    colour_project.runpytest_inprocess().assert_outcomes(passed=2)


def test_classes_that_change_between_tests(colour_project):
    colour_project.makeconftest(
        """
        import pytest

        NAMES = ["red", "green"]

        @pytest.fixture(scope="session")
        def gradcam_classes():
            return NAMES
        """
    )
    colour_project.makepyfile(
        """
        from conftest import NAMES

        def test_before(gradcam):
            assert gradcam("square.png").target == "red"

        def test_after(gradcam):
            NAMES[0] = "rot"
            assert gradcam("square.png").target == "rot"
        """
    )
    colour_project.runpytest_inprocess().assert_outcomes(passed=2)


def test_threads_of_a_test_have_its_marker(colour_project):
    colour_project.makepyfile(
        """
        from concurrent.futures import ThreadPoolExecutor
        import pytest

        @pytest.mark.gradcam(target="green")
        def test_it(gradcam):
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(gradcam, "square.png").result().target == "green"
        """
    )
    colour_project.runpytest_inprocess().assert_outcomes(passed=1)
