"""What scores may be by their values alone."""

import math

import torch

from pytest_gradcam.cam import units

ROW = [0.2, 0.3, 0.5]


class TestSums:
    def test_probabilities_add_up_to_one_as_closely_as_their_dtype_allows(self):
        def adds_up(row, dtype=torch.float32):
            return units.sums_to_one(torch.tensor([ROW, row]), dtype)

        assert adds_up(ROW)
        assert adds_up([0.2, 0.3, 0.5 + 0.9e-4])
        assert not adds_up([0.2, 0.3, 0.5 + 1.2e-4])
        assert not adds_up([0.2, 0.3, 0.5 - 1.2e-4])
        assert adds_up([0.2, 0.3, 0.5 + 0.05], torch.bfloat16)
        assert not adds_up([0.2, 0.3, 0.5 + 0.07], torch.bfloat16)
        assert not adds_up([-0.1, 0.6, 0.5])
        assert not adds_up([1.1, -0.1, 0.0])
        assert adds_up([0.0, 0.0, 1.0])

    def test_of_one_class_alone_says_nothing(self):
        assert not units.sums_to_one(torch.ones(2, 1), torch.float32)
        assert units.sums_to_one(torch.tensor([[1.0, 0.0]]), torch.float32)

    def test_what_is_constant_is_constant_relative_to_its_size(self):
        def constant(*values):
            return units.constant(torch.tensor(values))

        assert constant(100.0, 100.005)
        assert not constant(100.0, 100.03)
        assert not constant(0.01, 0.0101)
        assert not constant(0.0, 0.0)
        assert not constant(-1.0, -1.0)

    def test_logarithms_of_some_probabilities(self):
        def logs(*row):
            return units.logs_of_some(torch.tensor([row]), torch.float32)

        assert logs(-1.0, -2.0)
        assert logs(0.0, -2.0)
        assert not logs(0.1, -2.0)
        assert not logs(math.log(0.25), math.log(0.75))  # those that add up are logits as well
