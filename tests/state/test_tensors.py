"""What a tensor holds."""

from hashlib import sha256

import numpy as np
import pytest
import torch

from pytest_gradcam.state import tensors
from pytest_gradcam.state.tensors import all_finite, digest, remembered_digest

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("values", "dtype", "finite"),
    [
        ([0.0, -1.0, 2.0], torch.float32, True),
        ([3e38, 3e38], torch.float32, True),  # their sum is not
        ([60000.0, 60000.0], torch.float16, True),
        ([1.0, NAN], torch.float32, False),
        ([INF, 1.0], torch.bfloat16, False),
        ([INF, -INF], torch.float32, False),
        ([-INF, -3e38], torch.float32, False),
    ],
)
def test_finite_values_whatever_their_sum(values, dtype, finite):
    assert all_finite(torch.tensor(values, dtype=dtype)) is finite


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.complex64, torch.int8]
)
def test_a_digest_is_of_type_shape_and_values_in_whichever_order_they_lie(dtype):
    values = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).to(dtype)
    content = values.view(torch.uint8) if dtype != torch.bool else values
    expected = sha256(f"{dtype} (2, 3, 4, 5) ".encode() + content.numpy().tobytes()).hexdigest()
    layouts = [
        values,
        values.to(memory_format=torch.channels_last),
        values.transpose(2, 3).clone().transpose(2, 3),
        torch.stack([values, values], -1)[..., 0],
    ]
    assert {digest(tensor) for tensor in layouts} == {remembered_digest(tensor) for tensor in layouts} == {expected}


def test_equal_bytes_of_another_type_or_shape_have_another_digest():
    zeros = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32), torch.zeros(8, dtype=torch.bfloat16)]
    assert len({digest(tensor) for tensor in zeros}) == len(zeros)


@pytest.mark.parametrize("tensor", [torch.eye(3).to_sparse(), torch.empty(3, device="meta")], ids=["sparse", "meta"])
def test_a_tensor_without_bytes_of_its_own_has_no_digest(tensor):
    assert digest(tensor) is remembered_digest(tensor) is None


@pytest.fixture
def weights():
    """Of several blocks and a rest, in memory that NumPy can write to as well."""
    values = np.random.default_rng(0).standard_normal((13, 50, 7)).astype(np.float32)
    return values, torch.from_numpy(values)


def scaled_column(values):
    values[:, 1] *= 2


def negated(values):
    np.negative(values, values)


def signs_of_every_second_value(values):
    values.reshape(-1)[1::2] *= -1


def two_signs(values):
    values.reshape(-1)[[1, 3]] *= -1


def two_swapped(values):
    flat = values.reshape(-1)
    flat[[1, 1025]] = flat[[1025, 1]]


def exponents(values):
    values *= 4


@pytest.mark.parametrize(
    "write", [scaled_column, negated, signs_of_every_second_value, two_signs, two_swapped, exponents]
)
def test_a_remembered_digest_is_that_of_now_whatever_wrote_to_the_memory(weights, write):
    values, tensor = weights
    before = remembered_digest(tensor)
    write(values)
    assert remembered_digest(tensor) == digest(tensor) != before


def test_every_bit_of_every_value_counts(weights):
    values, tensor = weights
    words = values.reshape(-1).view(np.uint32)
    before = remembered_digest(tensor)
    for place in (0, 1, 1023, 1024, 4 * 1024 - 1, 4 * 1024, len(words) - 1):
        for bit in range(32):
            words[place] ^= np.uint32(1 << bit)
            assert remembered_digest(tensor) != before
            words[place] ^= np.uint32(1 << bit)
            assert remembered_digest(tensor) == before


def test_what_did_not_change_is_hashed_once(weights, monkeypatch):
    hashed, hashing = [], tensors._digest
    monkeypatch.setattr(tensors, "_digest", lambda *arguments: hashed.append(1) or hashing(*arguments))
    for _ in range(3):
        remembered_digest(weights[1])
    assert hashed == [1]


@pytest.fixture
def named():
    """Small and large tensors by name, whose memory can be written to without PyTorch's knowledge."""
    rng = np.random.default_rng(1)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    arrays["count"] = np.array(3)
    return arrays, {name: torch.from_numpy(array) for name, array in arrays.items()}


SHAPES = {"b.weight": (70, 500), "b.bias": (70,), "a.weight": (8, 3, 3, 3), "a.bias": (8,), "empty": (0,)}


def plainly(tensors_by_name):
    lines = (f"{name} {digest(tensor)}\n" for name, tensor in sorted(tensors_by_name.items()))
    return sha256("".join(lines).encode()).hexdigest()


def test_the_digest_of_weights_is_over_names_and_digests_in_order_of_name(named):
    found = tensors.WeightsDigest(named[1].items())
    assert found.now() == found.now() == plainly(named[1])


@pytest.mark.parametrize("name", [*SHAPES, "count"])
def test_the_digest_of_weights_is_that_of_now_whichever_tensor_is_written_to(named, name):
    arrays, by_name = named
    found = tensors.WeightsDigest(by_name.items())
    before = found.now()
    arrays[name] += 1  # in place
    assert (found.now() != before) is (name != "empty")
    assert found.now() == plainly(by_name)


def test_small_tensors_that_exchange_their_values_are_not_the_same(named):
    arrays, by_name = named
    found = tensors.WeightsDigest(by_name.items())
    before = found.now()
    arrays["a.bias"][:], arrays["b.bias"][:8] = arrays["b.bias"][:8].copy(), arrays["a.bias"].copy()
    assert before != found.now() == plainly(by_name)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.clone() + 1,
        lambda tensor: tensor.view(torch.int32),
        lambda tensor: tensor.t(),
        lambda tensor: tensor.reshape(-1),
    ],
    ids=["other memory", "another type", "another order", "another shape"],
)
def test_a_tensor_that_is_pointed_elsewhere_has_another_digest(named, change):
    by_name = {name: tensor.clone() for name, tensor in named[1].items()}
    found = tensors.WeightsDigest(by_name.items())
    before = found.now()
    by_name["b.weight"].data = change(by_name["b.weight"])
    assert before != found.now() == plainly(by_name)


def test_weights_of_which_one_has_no_bytes_have_no_digest(named):
    assert tensors.WeightsDigest({**named[1], "far": torch.empty(2, device="meta")}.items()).now() == ""


def test_a_copy_is_made_anew_each_time(named):
    """The bytes of a transposed tensor are not its memory."""
    arrays, by_name = named
    by_name["turned"] = by_name["b.weight"].t()
    found = tensors.WeightsDigest(by_name.items())
    before = found.now()
    arrays["b.weight"][3, 4] = 9
    assert before != found.now() == plainly(by_name)
