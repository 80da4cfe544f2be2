"""Everything about a model, and about the process, that a caller could find changed."""

import random

import numpy as np
import torch


def state_of(model):
    """By value, and by identity where a caller could hold the object."""
    return {
        "training": [module.training for module in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "grads": [(id(p.grad), None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        "parameters": [(id(p), p.detach().clone()) for p in model.parameters()],
        "buffers": [(name, id(b), b.clone()) for name, b in model.named_buffers()],
        "hooks": [
            [
                len(table)
                for name, table in vars(module).items()
                if "hooks" in name and isinstance(table, dict) and table
            ]
            for module in model.modules()
        ],
        "modules": [(name, id(module)) for name, module in model.named_modules()],
        "random": (random.getstate(), np.random.get_state(), torch.get_rng_state().clone()),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
