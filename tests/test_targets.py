"""Class names and what is written for a class: right, or refused where two readings differ."""

import pytest

from pytest_gradcam import HeatmapError
from pytest_gradcam.targets import ClassNames, Written, class_index


@pytest.mark.parametrize(
    ("classes", "written", "index"),
    [
        (None, "4", 4),
        (["cat", "dog"], "1", 1),
        (["cat", "dog"], "dog", 1),
        ([str(digit) for digit in range(10)], "4", 4),  # name and index mean the same class
        (["3", "7"], "7", 1),  # there is no class with the index 7
        (["cat", "04"], "04", 1),
    ],
)
def test_a_class_in_a_table_is_a_name_or_an_index(classes, written, index):
    assert class_index(Written(written), ClassNames(classes)) == index


@pytest.mark.parametrize(
    ("classes", "written"),
    [
        (["1", "2", "3"], "1"),
        (["1", "2", "3"], "0"),  # no name, though the others are
        (["4", "cat", "dog", "bird", "0"], "4"),
        ({"7": 0, "1": 1, "0": 2}, "0"),
        (["4", "4", "cat"], "4"),
    ],
)
def test_digits_that_mean_one_class_by_name_and_another_by_index_are_refused(classes, written):
    with pytest.raises(HeatmapError, match=f"the class {written} is not clear: some classes are named in digits"):
        class_index(Written(written), ClassNames(classes))


def test_text_in_code_is_a_name_and_a_number_an_index():
    names = ClassNames(["1", "2", "0"])
    assert class_index("1", names) == 0
    assert class_index(1, names) == 1


@pytest.mark.parametrize(
    ("classes", "pairs"),
    [
        ({0: "1", 1: "0"}, [("1", 0), ("0", 1)]),
        ({"1": 0, "0": 1}, [("1", 0), ("0", 1)]),
        ({"0": "0", "1": "1"}, [("0", 0), ("1", 1)]),
        ({"cat": "0", "dog": "1"}, [("cat", 0), ("dog", 1)]),
        ({"0": "cat", "1": "dog"}, [("cat", 0), ("dog", 1)]),
    ],
)
def test_which_way_a_dict_goes_is_read_from_its_types(classes, pairs):
    assert ClassNames(classes).pairs == pairs


@pytest.mark.parametrize("classes", [{"0": "1", "1": "0"}, {0: 1, 1: 0}, {"0": "7", "1": "3"}])
def test_a_dict_of_digits_both_ways_is_refused(classes):
    with pytest.raises(HeatmapError, match="may go from names to indices or from indices to names"):
        ClassNames(classes)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"red": 0, "green": 0, "blue": 2}, "'red' and 'green' have the same index, 0"),
        ({"id2label": {"0": "red", "1": "green"}, "label2id": {"red": 1, "green": 0}}, "'red' is 1 in label2id alone"),
        ([["green", 1], ["red", 0]], r"\['green', 1\] is text and a number"),
    ],
)
def test_names_that_contradict_each_other_are_refused(classes, words):
    with pytest.raises(HeatmapError, match=words):
        ClassNames(classes)


@pytest.mark.parametrize(
    "classes",
    [
        {"red": 0, "green": 1},
        {"id2label": {"0": "red", "1": "green"}, "label2id": {"red": 0, "green": 1}},
        {"id2label": {"0": "crane", "1": "crane"}, "label2id": {"crane": 1}},
        {"0": ["n1", "red"], "1": ["n2", "green"]},
    ],
)
def test_names_that_do_not_are_taken(classes):
    ClassNames(classes).check(2)
