"""The command line as a user meets it: help, one line for bad input, JSON for programs."""

import json
import subprocess
import sys

import pytest

from pytest_gradcam.cli import commands, main
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report import Report, Run
from pytest_gradcam.report.write import write


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """What a command adds to the path for modules goes with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def in_project(warm, colour_project, monkeypatch):
    monkeypatch.chdir(colour_project.path)
    yield colour_project
    sys.modules.pop("colour", None)


def report(directory, figure=0.8, outcome="passed", name="test_a.py::test_x"):
    checks = tuple(
        Record(
            check="focus_within",
            measure="relevance mass",
            figure=figure,
            bound=0.5,
            outcome=outcome,
            test=f"{name}[{place}]",
            number=1,
            image=f"{place}.png",
        )
        for place in range(10)
    )
    write(
        Report((Run(id=str(figure), started="2026-01-01", ended="2026-01-02", exit_status=0, checks=checks),)),
        directory,
    )
    return str(directory)


def said(capsys, *arguments):
    """The exit status and what JSON was printed."""
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_no_argument_shows_the_commands(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in commands.commands)


@pytest.mark.parametrize("name", sorted(commands.commands))
def test_each_command_has_help_and_json(capsys, name):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert "Usage: pytest-gradcam" in out


BAD = [
    (["verif"], "No such command 'verif'. Did you mean 'verify'?"),
    (["verify"], "Missing argument 'DIRECTORY'"),
    (["verify", "nowhere"], "nowhere/manifest.json does not exist"),
    (["merge"], "Missing argument 'REPORT...'"),
    (["merge", "nowhere", "--into", "x"], "there is no report nowhere"),
    (["merge", "--int", "x"], "No such option '--int'"),
    (["calibrate", "nowhere"], "there is no report nowhere"),
    (["compare", "nowhere", "elsewhere"], "there is no report nowhere"),
    (["compare", "a", "b", "--fail-on-regression", "-1"], "Invalid value for '--fail-on-regression'"),
    (["compare", "a", "b", "--fail-on-regression", "nan"], "nan cannot be used; expected a number of at least 0"),
    (["compare", "a", "b", "--fail-on-regression", "inf"], "inf cannot be used; expected a number of at least 0"),
    (["compare", "a", "b", "--fail-on-regression", "x"], "'x' is not a valid float range"),
    (["merge", "a", "--into", "colour.py"], "Directory 'colour.py' is a file"),
    (["evidence", ".", "--format", "oscal", "--into", "."], "File '.' is a directory"),
    (["explain", "colour:build", "square.png", "--into", "colour.py"], "Directory 'colour.py' is a file"),
    (["samples", "colour.py"], "Directory 'colour.py' is a file"),
    (["samples", "colour.py/below"], "colour.py/below/photos/tripod: Not a directory"),
    (["masks", "square.png", "--into", "."], "File '.' is a directory"),
    (["inspect"], "Missing argument 'MODEL'"),
    (["inspect", "resnet18"], "MODEL = 'resnet18' names no model"),
    (["inspect", "torchvision:resnet81"], "did you mean 'resnet18'"),
    (["inspect", "no_such:build"], "there is no module 'no_such'"),
    (["inspect", "colour:biuld"], "colour has no 'biuld'; did you mean 'build'?"),
    (["inspect", "colour:build"], "no preprocess is set"),
    (["inspect", "colour:broken"], "building colour:broken raised KeyError: 'checkpoint'"),
    (["inspect", "colour:build", "--method", "gradcan"], "--method = 'gradcan' is not known"),
    (["inspect", "colour:build", "--weights", "nope.pt"], "; check the path"),
    (
        ["inspect", "colour:build", "--preprocess", "colour:preprocess", "--image", "nope.png"],
        "'nope.png' does not exist",
    ),
    (["explain", "colour:build"], "Missing argument 'IMAGE...'"),
    (["explain", "colour:build", "colour.py", "--preprocess", "colour:preprocess"], "colour.py"),
    (["explain", "colour:build", "square.png", "--preprocess", "colour:preprocess", "--target", "7"], "7"),
    (["explain", "colour:build", "square.png", "--preprocess", "colour:failing"], "raised RuntimeError (out of film)"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_line_and_exit_status_2(in_project, capsys, arguments, words):
    with (in_project.path / "colour.py").open("a") as file:
        file.write(
            "\ndef broken():\n    {}['checkpoint']\n\ndef failing(image):\n    raise RuntimeError('out of film')\n"
        )
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert out == ""


def test_reports_as_json(tmp_path, capsys):
    old, new = report(tmp_path / "old"), report(tmp_path / "new", figure=0.6)
    assert said(capsys, "verify", old)[1]["intact"] is True
    assert said(capsys, "merge", old, new, "--into", str(tmp_path / "both"))[1]["runs"] == 2
    assert said(capsys, "calibrate", old)[1][0]["text"] == "at_least=0.72"


def test_two_reports_are_compared(tmp_path, capsys):
    old, new = report(tmp_path / "old"), report(tmp_path / "new", figure=0.6)
    status, found = said(capsys, "compare", old, new)
    assert status == 0
    assert found["compared"] == 10
    assert found["groups"][0]["loss"] == pytest.approx(0.4)
    assert found["groups"][0]["p_value"] < 0.05
    assert main(["compare", old, new, "--fail-on-regression", "0.05"]) == 1
    assert "REGRESSION: test_a.py::test_x focus_within got worse by 40.0 % of its bound" in capsys.readouterr().out
    assert main(["compare", old, new, "--fail-on-regression", "0.5"]) == 0


def test_inspect_measures_the_model(in_project, capsys):
    arguments = ["inspect", "colour:build", "--preprocess", "colour:preprocess", "--image", "square.png"]
    status, found = said(capsys, *arguments, "--classes", "classes.txt")
    assert status == 0
    assert found["layer"] == "features"
    [chosen] = [place for place in found["layers"] if place["chosen"]]
    assert chosen["grid"] == [8, 8]
    assert found["preprocess"]["view"] == [0, 0, 64, 64]
    assert found["preprocess"]["range"] == [[0, 1]] * 3
    assert found["prediction"]["target"] == "red"
    assert found["output"] == {"classes": 2, "kind": "logits", "task": "single"}
    assert found["warnings"] == []
    assert main([*arguments, "--layer", "features"]) == 0
    text = capsys.readouterr().out
    assert "64 x 64 px become 3 x 64 x 64, which shows x 0 to 64 and y 0 to 64" in text
    assert "WARNING     no class names are known" in text


def test_inspect_warns_of_names_that_do_not_fit_and_of_random_weights(in_project, capsys):
    (in_project.path / "classes.txt").write_text("red\n")
    with (in_project.path / "colour.py").open("a") as file:
        file.write(
            "\ndef fresh():\n"
            "    return nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1))\n"
        )
    arguments = ["inspect", "colour:fresh", "--preprocess", "colour:preprocess", "--classes", "classes.txt"]
    _, found = said(capsys, *arguments)
    text = "\n".join(found["warnings"])
    assert "the weights are a random draw" in text
    assert "the class names do not fit" in text
    assert "the model returns probabilities" in text


def test_inspect_of_a_model_known_by_its_scores_alone_has_no_layers(in_project, capsys):
    with (in_project.path / "colour.py").open("a") as file:
        file.write("\ndef scores():\n    model = build()\n    return lambda batch: model(batch)\n")
    status, found = said(
        capsys, "inspect", "colour:scores", "--preprocess", "colour:preprocess", "--image", "square.png"
    )
    assert (status, found["layer"], found["layers"], found["method"]) == (0, "", [], "occlusion")
    assert any("known by its scores alone" in warning for warning in found["warnings"])
    arguments = ["inspect", "colour:scores", "--preprocess", "colour:preprocess", "--image", "square.png"]
    _, found = said(capsys, *arguments, "--method", "rise", "--classes", "classes.txt")
    assert (found["method"], found["warnings"]) == ("rise", [])


def test_explain_writes_pictures_and_figures(in_project, capsys):
    from PIL import Image

    Image.new("L", (64, 64)).save("half.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    mask.save("half.png")
    arguments = [
        "explain",
        "colour:build",
        "square.png",
        "--preprocess",
        "colour:preprocess",
        "--classes",
        "classes.txt",
    ]
    status, [found] = said(capsys, *arguments, "--mask", "half.png", "--target", "red")
    assert status == 0
    assert found["mask"]["mass"] > 0.9  # the red square lies on the left
    assert found["mask"]["hits"] is True
    with Image.open(found["picture"]) as picture:
        assert picture.width > 64
    assert main([*arguments, "--target", "green"]) == 0
    assert "the model predicts 'red'" in capsys.readouterr().out


def test_explain_says_where_there_is_no_figure(in_project, capsys):
    from PIL import Image

    Image.new("RGB", (64, 64)).save("black.png")
    arguments = ["explain", "colour:build", "black.png", "--preprocess", "colour:preprocess"]
    assert main(arguments) == 1
    assert "NO FIGURES" in capsys.readouterr().out


def test_the_script_and_the_module_are_one_program():
    from importlib.metadata import entry_points

    scripts = entry_points(group="console_scripts", name="pytest-gradcam")
    assert all(script.value == "pytest_gradcam.cli:main" for script in scripts)
    done = subprocess.run(
        [sys.executable, "-m", "pytest_gradcam"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Usage: pytest-gradcam" in done.stdout
