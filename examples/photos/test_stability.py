"""What survives on real photographs when weather, camera and transmission change them, and what does not."""

import pytest
from hypothesis import given
from test_photos import photo, region

from pytest_gradcam import FocusError, strategies


@given(strategies.perturbations(["fog", "gamma", "jpeg", "shadow", "timestamp"], max_severity=0.3))
def test_an_espresso_stays_one_and_is_seen_in_its_cup(gradcam, change):
    cup = region("coffee.png", "cup")
    gradcam.assert_stable(photo("coffee.png"), change, mask=cup, mass_at_least=0.4, similarity_at_least=0.8)


@given(strategies.perturbations(["shift", "rotate", "zoom"], max_severity=0.3))
def test_the_attention_moves_with_the_cup(gradcam, change):
    cup = region("coffee.png", "cup")
    gradcam.assert_stable(photo("coffee.png"), change, mask=cup, mass_at_least=0.4, similarity_at_least=0.8)


@pytest.mark.gradcam(unchecked="allow")  # a curve of figures, and no check
def test_fog_of_any_density_leaves_the_attention_on_the_daisy(gradcam):
    flower = region("flower.jpg", "flower")
    curve = gradcam.robustness(photo("flower.jpg"), "fog", mask=flower, same_class=False, mass_at_least=0.45)
    assert curve.first_break is None, curve


@pytest.mark.xfail(strict=True, raises=FocusError, reason="a slight blur makes a strawberry of it")
@given(strategies.compositions(["gaussian_blur", "brightness", "jpeg"], max_severity=0.4))
def test_a_daisy_stays_one(gradcam, change):
    gradcam.assert_stable(photo("flower.jpg"), change)
