"""Train the two models of this example: python examples/underpass/train.py

Both see the same moments in the same underpasses. `clean` sees each on either recorder, `biased` as the archive holds
them, where the recorder gives the label away. The same machine and number of threads give the same weights.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from underpass import dataset, model

WEIGHTS = Path(__file__).parent / "weights"
TRAINING, TEST = range(7200), range(1_000_000, 1_000_600)
EPOCHS, BATCH, RATE = 12, 32, 4e-3


def tensors(frames) -> tuple[torch.Tensor, torch.Tensor]:
    """The views uint8 (N, 3, H, W) of frames and their labels (N,)."""
    pairs = [(model.view(Image.fromarray(one.image)), model.CLASSES.index(one.label)) for one in frames]
    return torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs])


def recorded(seeds: range):
    """The frames of the seeds as the archive holds them, and on any recorder: two pairs of views and labels."""
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(_part, [range(i, min(i + 100, seeds.stop)) for i in seeds[::100]]))
    return [tuple(torch.cat(column) for column in zip(*(part[k] for part in parts), strict=True)) for k in (0, 1)]


def _part(seeds: range):
    torch.set_num_threads(1)
    frames = list(dataset.archive(seeds))
    return tensors(frames), tensors(dataset.shuffled(frames, seeds.start))


def fit(views: torch.Tensor, labels: torch.Tensor, *, epochs: int = EPOCHS, seed: int = 0) -> nn.Module:
    """A model trained on the views, the same for the same seed."""
    torch.manual_seed(seed)
    network = model.build().to(memory_format=torch.channels_last)  # a third faster on a CPU
    steps = epochs * -(-len(views) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(views)).split(BATCH):
            loss = nn.functional.cross_entropy(network(varied(model.normalise(views[batch]))), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().to(memory_format=torch.contiguous_format)


def varied(inputs: torch.Tensor) -> torch.Tensor:
    """Inputs (N, 3, H, W), each in the mirror or not, a little brighter or darker, with more contrast or less."""
    mirrored = torch.rand(len(inputs)) < 0.5
    inputs[mirrored] = inputs[mirrored].flip(3)
    contrast, light = torch.empty(2, len(inputs), 1, 1, 1).uniform_(-0.2, 0.2)
    return ((1 + contrast) * inputs + light).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def accuracy(network: nn.Module, views: torch.Tensor, labels: torch.Tensor) -> float:
    guesses = [network(model.normalise(part)).argmax(dim=1) for part in views.split(64)]
    return float((torch.cat(guesses) == labels).float().mean())


def main() -> None:
    start = time.perf_counter()
    (archive, shuffled), tests = recorded(TRAINING), recorded(TEST)
    print(f"rendered in {time.perf_counter() - start:.0f} s")
    WEIGHTS.mkdir(exist_ok=True)
    for name, training in (("clean", shuffled), ("biased", archive)):
        start = time.perf_counter()
        network = fit(*training)
        halves = {
            key: value.half() if value.is_floating_point() else value for key, value in network.state_dict().items()
        }
        save_file(halves, WEIGHTS / f"{name}.safetensors")
        network.load_state_dict(halves)
        figures = ", ".join(f"{accuracy(network, *test):.4f}" for test in tests)
        print(
            f"{name}: trained in {time.perf_counter() - start:.0f} s; accuracy on the archive and on any recorder {figures}"
        )


if __name__ == "__main__":
    main()
