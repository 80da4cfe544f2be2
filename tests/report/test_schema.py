"""evidence.json is what its schema says, and stays readable when the schema moves on."""

import json
from dataclasses import fields, replace
from pathlib import Path

import jsonschema
import pytest

from pytest_gradcam.evidence.record import VERSION, Record
from pytest_gradcam.report import Report, Run, load, schema
from pytest_gradcam.report.write import write

FULL = Record(
    check="focus_within",
    measure="relevance mass",
    outcome="failed",
    figure=0.2,
    bound=0.5,
    details=(("fills", "mean colour"),),
    parameters={"threshold": 0.5},
    perturbation="brightness(0.3)",
    seed=3,
    mask_area=0.1,
    mass=0.2,
    lift=2.0,
    peak=(3, 4),
    peaks=1,
    grid=(7, 7),
    view=(224, 224),
    centres=((15.0, 16.0), (7.5, 8.0)),
    target="cat",
    target_index=1,
    score=2.5,
    probability=0.9,
    rank=1,
    classes=2,
    predicted="cat",
    predicted_index=1,
    parameter_count=12,
    test="test_a.py::test_cat",
    number=1,
    requirements=("transparency",),
    duration=0.1,
    picture="pictures/a.png",
)
RUN = Run(
    id="1", started="2026-01-02T03:04:05+00:00", exit_status=1, command=("pytest",), tests={"failed": 1}, clean=True
)


def validate(path):
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(json.loads(path.read_text()), schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("checks", [(), (FULL,), (FULL, Record(check="overlap", measure="IoU"))])
def test_what_is_written_validates(tmp_path, checks):
    write(Report((replace(RUN, checks=checks),)), tmp_path)
    validate(tmp_path / "evidence.json")


@pytest.mark.parametrize("change", [{"outcome": "fine"}, {"figure": "0.2"}, {"colour": "red"}, {"version": 1}])
def test_what_is_wrong_does_not(tmp_path, change):
    write(Report((replace(RUN, checks=(FULL,)),)), tmp_path)
    plain = json.loads((tmp_path / "evidence.json").read_text())
    plain["runs"][0]["checks"][0].update(change)
    (tmp_path / "evidence.json").write_text(json.dumps(plain))
    with pytest.raises(jsonschema.ValidationError):
        validate(tmp_path / "evidence.json")


@pytest.mark.parametrize(("kind", "name"), [(Record, "check"), (Run, "run")])
def test_the_schema_describes_every_field(kind, name):
    described = schema()["$defs"][name]
    assert list(described["properties"]) == [field.name for field in fields(kind)]
    assert all("description" in part for part in described["properties"].values())


def test_the_schema_is_of_this_version():
    assert schema()["properties"]["version"] == {"const": VERSION}


def test_a_file_of_version_1_still_loads():
    record = load(Path(__file__).parent / "evidence-1.json").records[0]
    assert record.outcome == "failed"
    assert (record.figure, record.bound) == (0.2314, 0.5)
    assert record.peak == (12, 200)
    assert (record.weights, record.requirements, record.version) == ("", (), VERSION)


def test_numbers_that_json_does_not_know_are_left_out():
    import numpy as np

    odd = replace(FULL, figure=float("nan"), lift=np.float32("inf"), score=np.float32(0.5), peaks=np.int64(3))
    plain = json.loads(json.dumps(odd.to_plain(), allow_nan=False))
    assert (plain["figure"], plain["lift"], plain["score"], plain["peaks"]) == (None, None, 0.5, 3)


def test_a_lone_surrogate_in_a_name_is_written(tmp_path):
    write(Report((replace(RUN, checks=(replace(FULL, test="test_\udc80"),)),)), tmp_path)
    assert load(tmp_path).records[0].test == "test_\udc80"
