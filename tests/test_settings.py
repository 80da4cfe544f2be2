"""The one place that resolves options."""

import pytest

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.settings import CAM_METHODS, MARKER_KEYS, OPTIONS, Settings, reject_unknown, resolve, resolve_marker


def test_the_table_and_the_settings_agree():
    assert list(Settings._fields) == [option.name for option in OPTIONS]


def test_defaults_pass_their_own_parsers():
    for option in OPTIONS:
        default = getattr(Settings(), option.name)
        if default is not None:
            assert option.parse(option.name, default) == default


def test_command_line_beats_ini_beats_default():
    settings = resolve(
        {"method": "hirescam", "layer": None}, {"method": "layercam", "layer": "features", "batch_size": 4}
    )
    assert settings == Settings(method="hirescam", layer="features", batch_size=4)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("model", "resnet50", "gradcam_model = 'resnet50' names no model; expected 'package.module:callable'"),
        ("model", "torchvision:", "ends at the colon; expected a name behind it: torchvision:NAME"),
        ("model", "torchvision: resnet50", "export:; did you mean 'torchvision:resnet50'?"),
        ("preprocess", "timm:", "ends at the colon; expected a name behind it: timm:NAME"),
        ("classes", "torchvision:", "gradcam_classes = 'torchvision:' ends at the colon"),
        ("classes", "names:", "ends at the colon"),
        ("model", " ", "is empty"),
        ("method", "gradcm", "did you mean 'gradcam'"),
        ("device", "the gpu", "not a device; expected auto, cpu, cuda"),
        ("batch_size", "0", "cannot be used; expected a whole number of at least 1"),
        ("batch_size", "many", "cannot be used; expected a whole number of at least 1"),
        ("pictures", "some", "expected one of failed, all, none"),
        ("layer", "", "is empty"),
        ("window", "4095", "is not a window; expected two numbers, the lower first"),
        ("window", "9 0", "is not a window"),
        ("window", "0 inf", "is not a window"),
        ("channels", "0 1", "are no channels; expected one or three of them by number"),
        ("channels", "red", "are no channels"),
    ],
)
def test_a_bad_value_names_its_place_and_what_was_expected(name, value, words):
    with pytest.raises(SettingsError) as caught:
        resolve({}, {name: value})
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"gradcam_{name}")


def test_windows_and_channels_are_numbers():
    settings = resolve({"window": "-10, 400.5"}, {"channels": "3 2 1"})
    assert (settings.window, settings.channels) == ((-10.0, 400.5), (3, 2, 1))


def test_the_message_names_the_command_line_when_the_value_came_from_there():
    with pytest.raises(SettingsError, match="--gradcam-batch-size = '-1'"):
        resolve({"batch_size": "-1"}, {})


def test_the_closest_marker_wins():
    assert resolve_marker([{"layer": "a", "target": 3}, {"layer": "b"}]) == {"layer": "b", "target": 3}


@pytest.mark.parametrize("keywords", [{"laier": "a"}, {"device": "cpu"}, {"method": "nonsense"}])
def test_a_marker_rejects_what_it_does_not_know(keywords):
    with pytest.raises(SettingsError, match=r"pytest\.mark\.gradcam"):
        resolve_marker([keywords])


def test_marker_keys():
    assert MARKER_KEYS == ("layer", "method", "gate", "mispredicted", "unchecked", "target")


def test_unknown_ini_keys_of_ours_are_rejected_and_others_ignored():
    reject_unknown(["timeout", "asyncio_mode"])
    with pytest.raises(SettingsError, match=r"gradcam_modle is not an option.*did you mean 'gradcam_model'"):
        reject_unknown(["gradcam_modle"])


def test_a_switch_is_no_ini_key():
    with pytest.raises(
        SettingsError, match="gradcam_update applies to one run and cannot be configured; give --gradcam-update"
    ):
        reject_unknown(["gradcam_update"])


@pytest.mark.parametrize("value", ["5 %", "-0.1", "nan", "inf", True, ""])
def test_a_limit_that_is_no_share(value):
    with pytest.raises(
        SettingsError, match="--gradcam-fail-on-regression = .* cannot be used; expected a number of at least 0"
    ):
        resolve({"fail_on_regression": value, "compare": "a"}, {})


def test_a_gate_needs_a_run_to_compare_with():
    with pytest.raises(SettingsError, match="needs a run to compare with; give --gradcam-compare too"):
        resolve({"fail_on_regression": "0.05"}, {})
    assert resolve({"fail_on_regression": "0.05"}, {"compare": "a"}).fail_on_regression == 0.05


def test_every_method_has_a_formula():
    from pytest_gradcam.cam import formulas, model_methods

    assert sorted(CAM_METHODS) == sorted((*formulas.METHODS, *model_methods.METHODS))
