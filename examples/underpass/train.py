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
TRAINING, TEST = range(2400), range(1_000_000, 1_000_200)
EPOCHS, BATCH, RATE = 7, 32, 4e-3


def tensors(frames) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs (N, 3, H, W) of frames and their labels (N,)."""
    pairs = [(model.preprocess(Image.fromarray(one.image)).half(), model.CLASSES.index(one.label)) for one in frames]
    return torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs])


def recorded(seeds: range):
    """The frames of the seeds as the archive holds them, and on any recorder: two pairs of inputs and labels."""
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(_part, [range(i, min(i + 100, seeds.stop)) for i in seeds[::100]]))
    return [tuple(torch.cat(column) for column in zip(*(part[k] for part in parts), strict=True)) for k in (0, 1)]


def _part(seeds: range):
    torch.set_num_threads(1)
    frames = list(dataset.archive(seeds))
    return tensors(frames), tensors(dataset.shuffled(frames, seeds.start))


def fit(inputs: torch.Tensor, labels: torch.Tensor, *, epochs: int = EPOCHS, seed: int = 0) -> nn.Module:
    """A model trained on the inputs, the same for the same seed."""
    torch.manual_seed(seed)
    network = model.build()
    steps = epochs * -(-len(inputs) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            loss = nn.functional.cross_entropy(network(inputs[batch].float()), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    guesses = [network(part.float()).argmax(dim=1) for part in inputs.split(64)]
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
