"""The command that opens a page to draw masks on."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Any

import click

from pytest_gradcam.cli.shared import answer, as_json, path


@click.command(short_help="Draw masks on images, in the browser.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=path())
@click.option(
    "--into",
    type=path(may_be="file"),
    help="The COCO file to read and write.  [annotations.json beside the first image]",
)
@click.option("--label", "labels", multiple=True, metavar="NAME", help="A label to offer; can be given several times.")
@click.option(
    "--u2net", type=path(must_be="file"), help="A U2-Net (ONNX) to propose objects.  [that of rembg, if installed]"
)
@click.option("--port", type=click.IntRange(1, 65535), help="The port on 127.0.0.1.  [8737, or a free one]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@as_json
def masks(
    images: tuple[Path, ...], into: Path | None, labels: tuple[str, ...], u2net: Path | None, **opened: Any
) -> None:
    """Draw boxes and polygons on images, or take proposed regions, and save them as COCO JSON. IMAGE is a file or a folder.

    Opens a page that this machine alone can reach, at an address with a token; nothing leaves the machine. Each change is
    saved at once. Stop with Ctrl+C.
    """
    from pytest_gradcam.models import salient
    from pytest_gradcam.tools.mask_server import MaskServer
    from pytest_gradcam.tools.mask_store import MaskStore, drawables

    missing = next((one for one in images if not one.exists()), None)
    if missing is not None:
        raise click.UsageError(f"there is no {missing}; pass images, or folders of images")
    if u2net is not None:
        salient.check(u2net)
    first = images[0] if images[0].is_dir() else images[0].parent
    file = into or first / "annotations.json"
    drawn = drawables(images, file.parent)
    store = MaskStore(file, drawn)
    with MaskServer(store, drawn, labels, opened["port"]) as server:
        server.u2net = u2net or salient.installed()
        said = {"address": server.address, "file": str(file), "images": len(drawn)}
        answer(lambda: said, lambda: [f"{len(drawn)} images, saved to {file}", server.address, "stop with Ctrl+C"])
        sys.stdout.flush()
        if not opened["no_browser"]:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")


COMMANDS = (masks,)
