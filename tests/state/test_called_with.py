"""Models that are not called with a batch alone: by keywords, beside other inputs, with one dict."""

import numpy as np
import pytest
import torch
from torch import nn

from pytest_gradcam import Explainer, HeatmapError
from pytest_gradcam.state.called_with import Call
from tests.states import same, state_of

IMAGE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(5, 3)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.4)

    def scores(self, images, age):
        return self.head(torch.cat([self.features(images).relu().mean((2, 3)), age], 1))


class ByKeyword(Features):
    def forward(self, pixel_values, age):
        return self.scores(pixel_values, age)


class Beside(Features):
    def forward(self, x, *, age):
        return self.scores(x, age)


class ByDict(Features):
    def forward(self, sample):
        return self.scores(sample["pixel_values"], sample["age"])


class Alone(Features):
    """The same, of the age 0.5, with a batch alone."""

    def forward(self, x):
        return self.scores(x, torch.full((len(x), 1), 0.5))


AGE = torch.tensor([0.5])
WAYS = {
    "keyword": (ByKeyword, "pixel_values", AGE),
    "beside": (Beside, None, AGE),
    "dict": (ByDict, "pixel_values", AGE),
    "array": (ByKeyword, "pixel_values", np.array([0.5])),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_same_as_a_model_that_is_called_with_a_batch_alone(way):
    kind, name, age = WAYS[way]
    model = kind()
    plain = Explainer(Alone())
    before = state_of(model)
    explainer = Explainer(model, image_input=name, inputs={"age": age})
    images = [IMAGE, 1 - IMAGE, IMAGE / 2]
    np.testing.assert_array_equal(explainer.predict(images), plain.predict(images))
    heatmap, expected = explainer(IMAGE, 1), plain(IMAGE, 1)
    np.testing.assert_allclose(heatmap.grid, expected.grid, atol=1e-6)
    assert heatmap.subject.layer == "model.features"
    assert heatmap.subject.model.startswith(kind.__name__)
    assert explainer.model is model
    assert same(before, state_of(model))


def test_a_second_image_is_an_input_like_any_other():
    class Compares(Features):
        def forward(self, image, reference):
            both = [self.features(each).relu().mean((2, 3)) for each in (image, reference)]
            return both[0] - both[1]

    explainer = Explainer(Compares(), image_input="image", inputs={"reference": IMAGE})
    scores = explainer.predict([IMAGE, 1 - IMAGE])
    assert np.abs(scores[0]).max() == 0
    assert np.abs(scores[1]).max() > 0


def test_scores_alone_are_called_in_the_same_way():
    model = ByKeyword()
    explainer = Explainer(
        lambda pixel_values, age: model(pixel_values, age), image_input="pixel_values", inputs={"age": AGE}
    )
    with torch.no_grad():
        expected = Alone()(IMAGE[None]).numpy()
    np.testing.assert_allclose(explainer.predict([IMAGE]), expected, atol=1e-6)


def test_what_is_no_tensor_is_passed_as_it_is():
    seen = []

    class Notes(nn.Module):
        def forward(self, image, mode):
            seen.append(mode)
            return image.mean((2, 3))

    Explainer(Notes(), image_input="image", inputs={"mode": "fast"}).predict([IMAGE])
    assert set(seen) == {"fast"}


def test_names_that_the_model_does_not_take_are_refused():
    with pytest.raises(
        HeatmapError, match=r"the model takes age, pixel_values, not image; expected names of its inputs"
    ):
        Explainer(ByKeyword(), image_input="image", inputs={"age": AGE})
    with pytest.raises(HeatmapError, match="takes age, pixel_values, not sex"):
        Explainer(ByKeyword(), image_input="pixel_values", inputs={"sex": AGE})
    with pytest.raises(HeatmapError, match="or wrap it: a torch.nn.Module whose forward takes the batch"):
        Explainer(Alone(), inputs={"age": AGE})


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"image_input": ""}, "image_input='' is no name"),
        ({"image_input": 3}, "image_input=3 is no name"),
        ({"inputs": [1]}, r"inputs=\[1\] cannot be used; expected a dict"),
        ({"inputs": {3: 1}}, r"inputs={3: 1} cannot be used"),
        ({"image_input": "x", "inputs": {"x": 1}}, "inputs has 'x', which is the name of the images"),
    ],
)
def test_what_are_no_names_is_refused(arguments, reason):
    with pytest.raises(HeatmapError, match=reason):
        Call(**arguments)


def test_a_model_that_needs_more_than_a_batch_says_how_to_name_its_inputs():
    with pytest.raises(HeatmapError, match=r"name its inputs \(image_input= and inputs= of an Explainer\), or wrap it"):
        Explainer(ByKeyword())(IMAGE)
