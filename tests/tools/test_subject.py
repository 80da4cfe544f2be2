"""The model of a command is explained as pytest explains it under the same settings."""

import numpy as np
import pytest

from pytest_gradcam import Explainer
from pytest_gradcam.cli import main
from pytest_gradcam.settings import Settings
from pytest_gradcam.tools.subject import ModelParts
from tests.cam.test_engine import picture, small


def test_the_engine_has_every_setting_of_how_a_heatmap_is_made():
    settings = Settings(method="rise", rise_masks=60, batch_size=7, output="logits")
    model, image = small(), picture()
    sizes = []
    model.register_forward_hook(lambda _module, received, _output: sizes.append(len(received[0])))
    found = ModelParts(settings, model, None, ["a", "b", "c", "d", "e"], "").engine().heatmaps([image], ["c"])[0]
    assert max(sizes) == 7
    expected = Explainer(small(), method="rise", rise_masks=60)(image, 2)
    np.testing.assert_allclose(found.grid, expected.grid, atol=1e-5 * float(np.abs(expected.grid).max()))
    assert found.target == "c"
    other = Explainer(small(), method="rise", rise_masks=70)(image, 2)
    assert np.abs(other.grid - expected.grid).max() > 1e-3 * np.abs(expected.grid).max()


def test_without_the_class_names_targets_are_indices():
    engine = ModelParts(Settings(layer="1"), small(), None, ["a", "b"], "").engine(with_classes=False)
    heatmap = engine.heatmaps([picture()], [3])[0]
    assert (heatmap.target, heatmap.layer) == ("3", "1")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("needs_another:build", "raised ModuleNotFoundError: No module named 'not_installed_here'"),
        ("no_python:build", "raised SyntaxError"),
        ("..:build", "names a module relative to nothing"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(tmp_path, monkeypatch, capsys, spec, words):
    (tmp_path / "needs_another.py").write_text("import not_installed_here\n")
    (tmp_path / "no_python.py").write_text("def (:\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["inspect", spec]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
