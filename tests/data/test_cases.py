"""Cases from where users have them, and every row that cannot be used reported by name, all at once."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest
from PIL import Image

from pytest_gradcam import Case, cases, masks
from pytest_gradcam.data.case import Cases
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.targets import ClassNames, class_index

SHAPE = (20, 30)
SQUARE = masks.box(SHAPE, (5, 5, 15, 15))


def picture(path, shape=SHAPE, level=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*shape, 3), level, np.uint8)).save(path)
    return path


def mask(path, pixels=SQUARE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def coco(folder, annotations, images=("a.png", "b.png"), **more):
    for name in images:
        picture(folder / name)
    document = {
        "images": [{"id": n, "file_name": name, "height": 20, "width": 30} for n, name in enumerate(images, 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "caption"}],
        "annotations": annotations,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(document | more), "utf-8")
    return path


def box(image=1, bbox=(5, 5, 10, 10), category=1, number=1):
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(bbox)}


class TestCase:
    def test_reads_nothing_before_it_is_asked(self, tmp_path):
        case = Case(tmp_path / "gone.png", mask=tmp_path / "gone-too.png")
        assert case.name == "gone"
        assert repr(case) == "<Case gone>"

    def test_callables_are_called_when_asked_for(self):
        case = Case(lambda: "image.png", mask=lambda: SQUARE, id="lazy")
        assert case.read_image() == "image.png"
        assert (case.read_mask("mask") == SQUARE).all()
        assert case.read_mask("invalid") is None

    def test_a_callable_that_fails_is_named(self):
        with pytest.raises(HeatmapError, match=r"the mask cannot be made: ZeroDivisionError \(division by zero\)"):
            Case("a.png", mask=lambda: 1 / 0).read_mask("mask")

    def test_a_case_with_a_problem_has_no_image(self):
        with pytest.raises(HeatmapError, match="row 3: no image"):
            Case("a.png", problem="row 3: no image").read_image()

    def test_the_fingerprint_changes_with_the_file(self, tmp_path):
        path = picture(tmp_path / "a.png")
        before = Case(path).fingerprint()
        assert Case(path).fingerprint() == before
        picture(path, (21, 30))
        assert Case(path).fingerprint() != before
        assert Case(path, target="cat").fingerprint() != Case(path).fingerprint()

    def test_parametrize_names_tests_after_cases(self, pytester):
        pytester.makepyfile(
            """
            import pytest
            from pytest_gradcam import Case

            @pytest.mark.parametrize("case", [Case("photos/cat.png"), Case("x.png", id="a dog"), Case("y.png")])
            def test_one(case):
                pass
            """
        )
        lines = pytester.runpytest("--collect-only", "-q").outlines
        assert [line.partition("[")[2] for line in lines if "::" in line] == ["cat]", "a dog]", "y]"]


class TestFolder:
    def test_pairs_by_name_and_slices_by_folder(self, tmp_path):
        for name in ("north/a", "south/a"):
            picture(tmp_path / "images" / f"{name}.png")
            mask(tmp_path / "masks" / f"{name}.png")
        found = cases.from_folder(tmp_path / "images", tmp_path / "masks", target="folder")
        assert [(case.name, case.target, case.slices) for case in found] == [
            ("north/a.png", "north", {"folder": "north"}),
            ("south/a.png", "south", {"folder": "south"}),
        ]
        assert found.problems == []
        assert repr(found) == "<2 cases of images>"

    def test_masks_may_lie_inside_the_images_folder(self, tmp_path):
        picture(tmp_path / "a.jpg")
        mask(tmp_path / "masks" / "a.png")
        assert [case.name for case in cases.from_folder(tmp_path, tmp_path / "masks")] == ["a"]

    def test_says_what_has_no_partner(self, tmp_path):
        for name in "ab":
            picture(tmp_path / "images" / f"{name}.png")
        for name in "bc":
            mask(tmp_path / "masks" / f"{name}.png")
        with pytest.raises(HeatmapError) as error:
            cases.from_folder(tmp_path / "images", tmp_path / "masks")
        text = str(error.value)
        assert text.startswith("2 of the 3 cases of images cannot be judged")
        assert f"{tmp_path}/images/a.png: an image without mask of the same name" in text
        assert f"{tmp_path}/masks/c.png: a mask without an image" in text

    def test_without_strict_bad_rows_stay_as_cases(self, tmp_path):
        for name in "ab":
            picture(tmp_path / "images" / f"{name}.png")
        mask(tmp_path / "masks" / "b.png")
        found = cases.from_folder(tmp_path / "images", tmp_path / "masks", strict=False)
        assert [bool(case.problem) for case in found] == [True, False]

    def test_no_folder_and_no_images(self, tmp_path):
        with pytest.raises(HeatmapError, match="is not a folder"):
            cases.from_folder(tmp_path / "none")
        with pytest.raises(HeatmapError, match="has no images, so there is nothing to judge"):
            cases.from_folder(tmp_path)


class TestCoco:
    def test_union_by_category(self, tmp_path):
        path = coco(
            tmp_path,
            [
                box(),
                box(bbox=(20, 0, 10, 5), number=2),
                box(bbox=(0, 18, 30, 2), category=2, number=3),
                box(image=2, number=4),
            ],
        )
        found = cases.from_coco(path, tmp_path, invalid=["caption"], target="category")
        first, second = found
        assert (first.read_mask("mask") == SQUARE | masks.box(SHAPE, (20, 0, 30, 5))).all()
        assert (first.read_mask("invalid") == masks.box(SHAPE, (0, 18, 30, 20))).all()
        assert second.read_mask("invalid") is None
        assert [(case.name, case.target, case.slices) for case in found] == [
            ("a", "cat", {"category": "cat"}),
            ("b", "cat", {"category": "cat"}),
        ]

    def test_targets_by_category(self, tmp_path):
        path = coco(tmp_path, [box()])
        assert cases.from_coco(path, tmp_path, target={"cat": "tabby"})[0].target == "tabby"
        with pytest.raises(HeatmapError, match=r"image 1 'a.png' \(cat\): target= names no class for 'cat'"):
            cases.from_coco(path, tmp_path, target={"dog": 1})

    def test_what_reaches_outside_is_cut_off_where_that_is_asked(self, tmp_path):
        path = coco(tmp_path, [box(bbox=(25, 5, 10, 10))])
        with pytest.raises(HeatmapError, match="reaches outside the image"):
            cases.from_coco(path, tmp_path)
        (case,) = cases.from_coco(path, tmp_path, clip=True)
        assert (case.read_mask("mask") == masks.box((20, 30), (25, 5, 30, 15))).all()
        with pytest.raises(HeatmapError, match="clip"):
            cases.from_coco(path, tmp_path, clip=1)

    def test_unknown_category(self, tmp_path):
        with pytest.raises(HeatmapError, match="has no category 'cta'; it has caption, cat.*cat"):
            cases.from_coco(coco(tmp_path, [box()]), tmp_path, categories=["cta"])

    def test_no_coco_file(self, tmp_path):
        (tmp_path / "a.json").write_text("{}", "utf-8")
        with pytest.raises(HeatmapError, match="has no list 'images'"):
            cases.from_coco(tmp_path / "a.json", tmp_path)

    @pytest.mark.parametrize(
        ("key", "entry", "words"),
        [
            ("images", {"id": [1]}, r"images\[2\] has \[1\] as its id; expected a number or text"),
            ("annotations", {"image_id": {}}, r"annotations\[1\] has {} as its image_id"),
            ("annotations", {"image_id": 1, "category_id": True}, r"annotations\[1\] has True as its category_id"),
            ("categories", {"id": 1, "name": "dog"}, r"categories 'cat' and 'dog' have the same id, 1"),
            ("categories", {"id": 9}, r"categories\[\d\] has None as its name; expected text"),
        ],
    )
    def test_ids_that_say_nothing(self, tmp_path, key, entry, words):
        path = coco(tmp_path, [box()])
        content = json.loads(path.read_text("utf-8"))
        content[key].append(entry)
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises(HeatmapError, match=words):
            cases.from_coco(path, tmp_path)

    def test_every_bad_row_is_reported_at_once(self, tmp_path):
        path = coco(
            tmp_path,
            [
                box(image=9, number=1),
                box(category=7, number=2),
                box(image=1, bbox=(25, 5, 10, 10), number=3),
                box(image=2, bbox=(5, 5, 0, 10), number=4),
                {"id": 5, "image_id": 3, "category_id": 1, "segmentation": [[1, 1, 2]]},
                {"id": 6, "image_id": 4, "category_id": 1, "segmentation": {"size": [9, 9], "counts": [81]}},
                box(image=5, number=7),
                box(image=6, number=8),
                box(image=7, number=9),
            ],
            images=[f"{name}.png" for name in "abcdefg"],
        )
        (tmp_path / "e.png").unlink()
        (tmp_path / "f.png").write_bytes(b"not an image")
        picture(tmp_path / "g.png", (10, 10))
        content = json.loads(path.read_text("utf-8"))
        content["images"].append({"id": 8})
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises(HeatmapError) as error:
            cases.from_coco(path, tmp_path)
        text = str(error.value)
        assert text.startswith("10 of the 10 cases")
        for each in (
            "annotation 1: its image 9 is not in the file",
            "annotation 2: its category 7 is not in the file",
            "image 1 'a.png' (cat): COCO annotation 3: [25, 5, 10, 10]",
            "image 2 'b.png' (cat): COCO annotation 4: [5, 5, 0, 10]",
            "image 3 'c.png' (cat): COCO annotation 5: [1, 1, 2] is not a ring",
            "image 4 'd.png' (cat): COCO annotation 6: the run-length encoding is of size [9, 9]",
            f"image 5 'e.png' (cat): there is no image file {tmp_path}/e.png",
            f"image 6 'f.png' (cat): {tmp_path}/f.png is not an image file",
            "image 7 'g.png' (cat): the annotations are of an image of 30 x 20 px, the file has 10 x 10",
            "image 8 None: it has no file_name",
        ):
            assert each in text, f"{each!r} not in {text}"


class TestTables:
    def test_csv(self, tmp_path):
        picture(tmp_path / "a.png")
        picture(tmp_path / "b.png")
        mask(tmp_path / "b-mask.png")
        table = tmp_path / "cases.csv"
        table.write_text("file,mask,label,camera\na.png,5 5 15 15,cat,A2\nb.png,b-mask.png,3,A1\n", "utf-8")
        found = cases.from_csv(table, columns={"image": "file", "target": "label"}, slices=["camera"])
        assert [(case.name, case.target, case.slices) for case in found] == [
            ("a", "cat", {"camera": "A2"}),
            ("b", "3", {"camera": "A1"}),
        ]
        for case in found:
            assert (masks.as_mask(case.read_mask("mask")) == SQUARE).all()

    def test_bad_rows_by_number(self, tmp_path):
        picture(tmp_path / "a.png")
        mask(tmp_path / "empty.png", np.zeros(SHAPE, bool))
        mask(tmp_path / "small.png", SQUARE[:9, :9])
        table = tmp_path / "cases.csv"
        rows = [
            "a.png,1 2 3",
            ",5 5 9 9",
            "a.png,5 5 99 9",
            "a.png,empty.png",
            "a.png,small.png",
            "a.png,",
            "none.png,",
        ]
        table.write_text("image,mask\n" + "\n".join(rows), "utf-8")
        with pytest.raises(HeatmapError) as error:
            cases.from_csv(table)
        text = str(error.value)
        assert text.startswith("6 of the 7 cases")
        for each in (
            "row 2: mask is '1 2 3'; expected a path, or a box",
            "row 3: there is no image",
            "row 4: (5.0, 5.0, 99.0, 9.0) reaches outside",
            "row 5: mask has no pixel",
            "row 6: mask '",
            "has shape (9, 9), the image has (20, 30)",
            "row 8: there is no image file",
        ):
            assert each in text, f"{each!r} not in {text}"
        assert "row 7" not in text

    def test_clip(self, tmp_path):
        picture(tmp_path / "a.png")
        (tmp_path / "cases.csv").write_text("image,mask\na.png,-3 5 99 9\n", "utf-8")
        (case,) = cases.from_csv(tmp_path / "cases.csv", clip=True)
        assert (case.read_mask("mask") == masks.box(SHAPE, (0, 5, 30, 9))).all()

    def test_digits_are_no_index_where_classes_are_named_in_digits(self, tmp_path):
        picture(tmp_path / "a.png")
        (tmp_path / "cases.csv").write_text("image,target\na.png,1\n", "utf-8")
        (case,) = cases.from_csv(tmp_path / "cases.csv")
        assert class_index(case.target, ClassNames(["cat", "dog"])) == 1
        with pytest.raises(HeatmapError, match="the class 1 is not clear"):
            class_index(case.target, ClassNames(["1", "2"]))

    def test_columns_that_are_not_there(self, tmp_path):
        (tmp_path / "cases.csv").write_text("file\na.png\n", "utf-8")
        with pytest.raises(HeatmapError, match="has no column 'image', 'site'; it has 'file'"):
            cases.from_csv(tmp_path / "cases.csv", slices=["site"])
        with pytest.raises(HeatmapError, match="columns has 'imag'"):
            cases.from_csv(tmp_path / "cases.csv", columns={"imag": "file"})

    def test_frame(self, tmp_path):
        picture(tmp_path / "a.png")
        frame = pandas.DataFrame({"image": ["a.png", "a.png"], "mask": ["5 5 15 15", None], "target": [1.0, np.nan]})
        found = cases.from_frame(frame, root=tmp_path)
        assert [case.target for case in found] == ["1", None]
        assert found[1].read_mask("mask") is None
        with pytest.raises(HeatmapError, match="list is not a table"):
            cases.from_frame([])


class TestDataset:
    class Digits:
        classes = ("zero", "one")

        def __init__(self):
            self.read = 0

        def __len__(self):
            return 3

        def __getitem__(self, index):
            self.read += 1
            return np.full((*SHAPE, 3), index, np.uint8), index % 2

    def test_labels_from_items(self):
        found = cases.from_dataset(self.Digits())
        assert [(case.name, case.target, case.slices) for case in found] == [
            ("item 0", "zero", {"label": "zero"}),
            ("item 1", "one", {"label": "one"}),
            ("item 2", "zero", {"label": "zero"}),
        ]
        assert (found[2].read_image() == 2).all()

    def test_labels_from_targets_read_no_item(self):
        dataset = self.Digits()
        dataset.targets = [1, 1, 0]
        assert [case.target for case in cases.from_dataset(dataset, classes=False)] == [1, 1, 0]
        assert dataset.read == 0

    def test_image_folder(self, tmp_path):
        from torchvision.datasets import ImageFolder

        for name in ("cat/a.png", "dog/b.png"):
            picture(tmp_path / name)
        found = cases.from_dataset(ImageFolder(tmp_path))
        assert [(case.image, case.target) for case in found] == [
            (str(tmp_path / "cat/a.png"), "cat"),
            (str(tmp_path / "dog/b.png"), "dog"),
        ]

    def test_what_is_no_dataset(self):
        with pytest.raises(HeatmapError, match="has no length"):
            cases.from_dataset(iter([]))


class TestIterable:
    def test_images_pairs_dicts_and_cases(self, tmp_path):
        path = picture(tmp_path / "a.png")
        image = np.zeros((*SHAPE, 3), np.uint8)
        found = cases.of([path, (path, SQUARE), {"image": path, "id": "b"}, Case(path), image])
        assert [case.name for case in found] == [
            f"{tmp_path.name}/a.png",
            f"{tmp_path.name}/a.png-2",
            "b",
            f"{tmp_path.name}/a.png-3",
            "row 4",
        ]
        assert found[1].mask is SQUARE
        assert isinstance(found[:2], Cases)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("a.png", "cases=str is not a data set"),
            ([{"imag": 1}], "row 0 has imag"),
            ([("a", "b", "c")], "row 0 has 3 parts"),
            ([], "has no images"),
        ],
    )
    def test_what_is_none(self, given, message):
        with pytest.raises(HeatmapError, match=message):
            cases.of(given)
