"""The commands on models."""

from __future__ import annotations

from pathlib import Path

import click

from pytest_gradcam.cli.shared import answer, as_json, model_options, path
from pytest_gradcam.settings import Settings
from pytest_gradcam.targets import Written

_MODEL = "MODEL is torchvision:NAME, timm:NAME or package.module:callable, as in the setting gradcam_model."


@click.command(epilog=_MODEL, short_help="How a model would be explained.")
@click.argument("model")
@click.option("--image", type=path(must_be="file"), help="What to measure on.  [a photograph of scikit-image]")
@model_options
@as_json
def inspect(settings: Settings, image: Path | None) -> None:
    """How this model would be explained: its layers with their grids, which one is chosen and why, what the preprocess
    does to an image, what the output is, what one heatmap costs, and what looks wrong."""
    from pytest_gradcam.tools import model_facts, subject

    facts = model_facts.inspect(subject.build(settings), image)
    answer(lambda: facts, lambda: model_facts.lines(facts))


@click.command(epilog=_MODEL, short_help="Pictures and figures, without a test.")
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=path(must_be="file"))
@click.option("--target", help="A class name or an index.  [the predicted class]")
@click.option(
    "--mask", type=path(must_be="file"), help="A mask file of the size of each image, for the figures that need one."
)
@click.option(
    "--into",
    type=path(may_be="folder"),
    default=Path("gradcam-explained"),
    show_default=True,
    help="Where pictures go.",
)
@model_options
@as_json
def explain(settings: Settings, images: tuple[Path, ...], target: str | None, mask: Path | None, into: Path) -> int:
    """Pictures of heatmaps, and the figures of every measure, without writing a test.

    Exit status 0, or 1 if an image's heatmap has no figures, so that nothing can be said about it.
    """
    from pytest_gradcam.tools import figures, subject

    goal = None if target is None else Written(target)
    found = list(figures.explain(subject.build(settings), images, goal, mask, into))
    answer(lambda: found, lambda: (line for one in found for line in figures.lines(one)))
    return 1 if any("problem" in one for one in found) else 0


COMMANDS = (inspect, explain)
