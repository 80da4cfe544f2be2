"""The commands that a project starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pytest_gradcam.cli.shared import answer, as_json, path, say, wants_json


class _Weights(click.Path):
    """A file that exists, or the word 'pretrained'."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "pretrained" else super().convert(value, param, ctx)


@click.command(short_help="Photographs with outlines, to try things on.")
@click.argument("directory", type=path(may_be="folder"), default=Path())
@as_json
def samples(directory: Path) -> None:
    """Copy three photographs of ImageNet's classes into DIRECTORY, and outlines of what they show: photos/CLASS, masks/CLASS.

    They come with scikit-image; nothing is downloaded, and no file is replaced.
    """
    from pytest_gradcam.tools import samples as photographs

    written = [str(file) for file in photographs.copy(directory)]
    answer(lambda: {"written": written}, lambda: written)


@click.command(short_help="First tests for a model repository.")
@click.argument("directory", type=path(must_be="folder"), default=Path())
@click.option(
    "--model", metavar="SPEC", help="package.module:callable, torchvision:NAME or timm:NAME.  [found in the code]"
)
@click.option(
    "--weights",
    type=_Weights(exists=True, dir_okay=False),
    metavar="FILE",
    help="The file of weights; or 'pretrained' for the published ones, which may be downloaded.  [the newest that fits]",
)
@click.option(
    "--preprocess", metavar="SPEC", help="package.module:callable, from a PIL image to a tensor.  [found in the code]"
)
@click.option("--classes", type=path(must_be="file"), help="The class names.  [a file or folders that fit the model]")
@click.option("--images", type=path(must_be="folder"), help="A folder of images to test on.  [found]")
@click.option(
    "--masks", type=path(must_be="folder"), help="A folder of masks of the same names.  [masks beside the images]"
)
@click.option("--yes", is_flag=True, help="Write without asking.")
@as_json
def init(directory: Path, yes: bool, **wishes: Any) -> int:
    """Write first tests into a model repository from what it holds: tests/test_attention.py, a conftest.py where fixtures are
    needed, and the settings.

    It reads the code for models and transforms, tries which weights fit, explains one image, and replaces no file. Exit status
    1 if you decline.
    """
    from pytest_gradcam.tools import scaffold

    plan = scaffold.plan(directory, scaffold.Wishes(**wishes))
    written = [plan.shown(file) for file in plan.contents]
    if not yes:
        if wants_json():
            raise click.UsageError("--json asks nothing; pass --yes as well")
        say(plan.lines())
        if not _confirmed():
            return 1
    plan.write()
    run = f"pytest {plan.shown(plan.test_file)} --gradcam-report=gradcam-report"
    answer(
        lambda: {"found": plan.found, "notes": list(plan.notes), "settings": plan.settings, "written": written},
        lambda: [*(plan.lines() if yes else ()), f"now: {run}", "then: pytest-gradcam calibrate gradcam-report"],
    )
    return 0


def _confirmed() -> bool:
    try:
        return click.confirm("Write these files?", default=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, EOFError):  # as in CI
            raise click.UsageError("there is nobody to ask; pass --yes to write without asking") from None
        raise


COMMANDS = (samples, init)
