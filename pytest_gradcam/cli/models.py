"""The commands on models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pytest_gradcam.cli.shared import answer, as_json, model_options, model_settings, path
from pytest_gradcam.targets import Written

_MODEL = "MODEL is torchvision:NAME, timm:NAME or package.module:callable, as in the setting gradcam_model."


@click.command(epilog=_MODEL, short_help="What explaining a model would mean.")
@click.argument("model")
@click.option("--image", type=path(must_be="file"), help="What to measure on.  [a photograph of scikit-image]")
@model_options
@as_json
def inspect(model: str, image: Path | None, as_json: bool, **given: Any) -> None:
    """What explaining this model would mean: its layers with their grids, which is chosen and why, what the preprocess does
    to an image, what the output is, what one heatmap costs, and what looks wrong."""
    settings = model_settings(model, given)
    from pytest_gradcam.tools import model_facts, subject

    facts = model_facts.inspect(subject.build(settings), image)
    answer(as_json, lambda: facts, lambda: model_facts.lines(facts))


@click.command(epilog=_MODEL, short_help="Pictures and figures, without a test.")
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=path(must_be="file"))
@click.option("--target", help="A class name or an index.  [the predicted class]")
@click.option(
    "--mask", type=path(must_be="file"), help="A mask file of the size of each image, for the figures that need one."
)
@click.option("--into", type=path(), default=Path("gradcam-explained"), show_default=True, help="Where pictures go.")
@model_options
@as_json
def explain(
    model: str,
    images: tuple[Path, ...],
    target: str | None,
    mask: Path | None,
    into: Path,
    as_json: bool,
    **given: Any,
) -> int:
    """Pictures of heatmaps, and the figures of every measure, without writing a test.

    Exit status 0, or 1 if an image's heatmap has no figures: nothing can be said of it.
    """
    settings = model_settings(model, given)
    from pytest_gradcam.tools import figures, subject

    goal = None if target is None else Written(target)
    found = list(figures.explain(subject.build(settings), images, goal, mask, into))
    answer(as_json, lambda: found, lambda: (line for one in found for line in figures.lines(one)))
    return 1 if any("problem" in one for one in found) else 0


COMMANDS = (inspect, explain)
