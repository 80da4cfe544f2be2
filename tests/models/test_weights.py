"""Files of weights, as safetensors and torch.save write them: loaded whole, or refused by what does not fit."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.models import weights


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.head = nn.Linear(2, 2)


@pytest.fixture
def state():
    torch.manual_seed(1)
    return Tiny().state_dict()


def loaded(path):
    model = Tiny()
    weights.load(model, path)
    return model.state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_weights_from_safetensors_and_from_torch(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    assert equal(loaded(tmp_path / "w.safetensors"), state)
    assert equal(loaded(tmp_path / "w.pt"), state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_wrappings_are_understood(tmp_path, state, wrapper, prefix):
    torch.save({wrapper: {prefix + key: value for key, value in state.items()}, "epoch": 3}, tmp_path / "w.pt")
    assert equal(loaded(tmp_path / "w.pt"), state)


def test_a_prefix_that_the_model_itself_has_stays(tmp_path):
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Tiny()

    torch.manual_seed(2)
    state = Wrapper().state_dict()
    torch.save(state, tmp_path / "w.pt")
    model = Wrapper()
    weights.load(model, tmp_path / "w.pt")
    assert equal(model.state_dict(), state)


def test_what_does_not_fit_is_named_and_nothing_is_loaded(tmp_path, state):
    state["extra"] = torch.zeros(1)
    state["head.weight"] = torch.zeros(5, 2)
    del state["conv.bias"]
    torch.save(state, tmp_path / "w.pt")
    model = Tiny()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(SettingsError) as caught:
        weights.load(model, tmp_path / "w.pt")
    assert "1 missing (conv.bias); 1 unexpected (extra); 1 of another shape (head.weight)" in str(caught.value)
    assert equal(model.state_dict(), before)


class Harmful:
    def __reduce__(self):
        return print, ("code from the weights file ran",)


def test_a_pickle_that_needs_code_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"state_dict": Harmful()}, tmp_path / "w.pt")
    with pytest.raises(SettingsError, match="would run code from the file, which is refused"):
        weights.load(Tiny(), tmp_path / "w.pt")
    torch.save(Tiny(), tmp_path / "whole.pt")
    with pytest.raises(SettingsError, match=r"torch\.save\(model\.state_dict\(\), path\)"):
        weights.load(Tiny(), tmp_path / "whole.pt")
    assert "ran" not in capsys.readouterr().out


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, words in (
        ("none.pt", "is not a file"),
        ("text.pt", "refused|not written by torch.save"),
        ("text.safetensors", "not a safetensors file"),
        ("list.pt", "no state dict"),
    ):
        with pytest.raises(SettingsError, match=words):
            weights.load(Tiny(), tmp_path / name)


def test_a_checkpoint_in_a_checkpoint(tmp_path, state):
    torch.save({"model": {"config": {"width": 2}, "state_dict": state}, "epoch": 3}, tmp_path / "w.pt")
    assert equal(loaded(tmp_path / "w.pt"), state)
    assert weights.read(tmp_path / "w.pt")[1] == ("model", "state_dict")
