"""Which values of settings are paths, and from where they begin."""

import pytest

from pytest_gradcam.plugin.locations import located
from pytest_gradcam.settings import OPTIONS

CLASSES = next(option for option in OPTIONS if option.name == "classes")


@pytest.mark.parametrize("text", ["torchvision:resnet18", "torchvision:", "torchvision: resnet18", "names:CLASSES"])
def test_a_name_is_no_path_even_if_it_is_incomplete(tmp_path, text):
    assert located(CLASSES, text, tmp_path) == text


@pytest.mark.parametrize("text", ["classes.txt", "sub/names.json", "odd:name.txt"])
def test_a_path_begins_at_the_folder(tmp_path, text):
    if ":" in text:
        (tmp_path / text).touch()  # a file that is there is meant
    assert located(CLASSES, text, tmp_path) == str(tmp_path / text)
