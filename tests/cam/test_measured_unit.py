"""What scores of a model are, as the first image and noise show it: what cannot be judged as logits is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, HeatmapError

IMAGE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Logits of a small network, as `form` returns them."""

    def __init__(self, form, classes=4):
        super().__init__()
        torch.manual_seed(2)
        self.form = form
        self.conv, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, classes)
        with torch.no_grad():
            self.head.weight *= 10

    def forward(self, x):
        return self.form(self.head(self.conv(x).relu().mean((2, 3))))


def less(number):
    return lambda z: z - number(z)


DIFFERENCES = {
    "less the greatest": less(lambda z: z.amax(1, keepdim=True)),
    "less the greatest, over a temperature": lambda z: (z - z.amax(1, keepdim=True)) / 2,
    "logarithms of a softmax by hand": less(lambda z: z.exp().sum(1, keepdim=True).log()),
}


@pytest.mark.parametrize("output", ["auto", "logits"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_scores_that_say_what_the_classes_differ_by_are_read_less_their_mean(name, output):
    plain = Explainer(Net(less(lambda z: z.mean(1, keepdim=True))))
    other = Explainer(Net(DIFFERENCES[name]), output=output)
    times = 2 if "temperature" in name else 1
    np.testing.assert_allclose(times * other.predict([IMAGE]), plain.predict([IMAGE]), atol=1e-5)
    first = int(plain.predict([IMAGE]).argmax())
    for target in (None, first, 1 - min(first, 1)):
        expected, found = plain(IMAGE, target), other(IMAGE, target)
        assert found.target == expected.target
        np.testing.assert_allclose(times * found.grid, expected.grid, atol=1e-6)
    assert "read less its mean over the classes" in found.subject.output


def test_a_forbidden_class_does_not_count_in_the_mean():
    def forbidden(z):
        return torch.cat([z - z.amax(1, keepdim=True), z.new_full((len(z), 1), -1e9)], 1)

    scores = Explainer(Net(forbidden)).predict([IMAGE])[0]
    np.testing.assert_allclose(scores[:4].sum(), 0, atol=1e-5)
    assert scores[4] < -1e8


def test_classes_without_a_number_of_their_own_are_no_findings():
    with pytest.raises(HeatmapError, match="task='multi' contradicts the model, whose scores only say"):
        Explainer(Net(DIFFERENCES["less the greatest"]), task="multi").predict([IMAGE])


@pytest.mark.parametrize(
    "form",
    [lambda z: z, lambda z: -z.relu(), lambda z: z.clamp(max=0), lambda z: z - z.amin(1, keepdim=True)],
    ids=["logits", "negated ReLU", "clamped", "less the least"],
)
def test_other_scores_are_not_read_so(form):
    explainer = Explainer(Net(form), output="logits")
    explainer.predict([IMAGE])
    assert not str(explainer._engine._outputs_of.last)


SMOOTHED = {
    "smoothed": lambda z: 0.9 * z.softmax(1) + 0.1 / z.shape[1],
    "logarithms of smoothed ones": lambda z: (0.9 * z.softmax(1) + 0.1 / z.shape[1]).log(),
}
SORTED = {
    "topk": lambda z: z.topk(z.shape[1]).values,
    "a few of topk": lambda z: z.topk(3).values,
    "probabilities": lambda z: z.softmax(1).sort(descending=True).values,
    "in a tuple": lambda z: tuple(z.topk(3)),
}
SAME_NORM = {
    "standardised": lambda z: (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True),
    "of norm 5": lambda z: 5 * nn.functional.normalize(z),
}


@pytest.mark.parametrize("form", SMOOTHED.values(), ids=SMOOTHED.keys())
def test_smoothed_probabilities_are_refused(form):
    with pytest.raises(HeatmapError, match=r"no probability is beyond 0.925, where very large inputs end"):
        Explainer(Net(form)).predict([IMAGE])


def test_smoothed_probabilities_can_be_judged_where_the_user_says_so():
    assert np.isfinite(Explainer(Net(SMOOTHED["smoothed"]), output="probabilities").predict([IMAGE])).all()


@pytest.mark.parametrize("output", ["auto", "logits"])
@pytest.mark.parametrize("form", SORTED.values(), ids=SORTED.keys())
def test_sorted_scores_are_refused(form, output):
    with pytest.raises(HeatmapError, match="scores come in descending order for every input"):
        Explainer(Net(form), output=output).predict([IMAGE])


@pytest.mark.parametrize(
    "form", [lambda z: z.topk(3), lambda z: z.max(1), lambda z: z.sort(1)], ids=["topk", "max", "sort"]
)
def test_what_pytorch_returns_for_the_greatest_is_refused(form):
    with pytest.raises(
        HeatmapError, match="of PyTorch, in which the scores of most classes or their order are missing"
    ):
        Explainer(Net(form)).predict([IMAGE])


@pytest.mark.parametrize("form", SAME_NORM.values(), ids=SAME_NORM.keys())
def test_scores_in_units_of_their_own_size_are_refused(form):
    with pytest.raises(HeatmapError, match="for every input, as where each image's are divided by their own size"):
        Explainer(Net(form)).predict([IMAGE])
    assert np.isfinite(Explainer(Net(form), output="logits").predict([IMAGE])).all()


def test_an_offset_for_all_inputs_makes_no_constant_norm():
    scores = Explainer(Net(lambda z: torch.cat([z, z.new_full((len(z), 1), -1e6)], 1))).predict([IMAGE])
    assert scores.shape == (1, 5)


def test_whole_numbers_are_called_so():
    with pytest.raises(HeatmapError, match=r"a tensor of shape \(1, 4\) and type torch.int64 for one image"):
        Explainer(Net(lambda z: z.long())).predict([IMAGE])
