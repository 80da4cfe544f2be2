"""The one entry to all benchmarks: without a name it lists them."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

#: Each module has `options(parser)`, which adds its options, and `run(options)`.
BENCHMARKS = {
    "cost": "benchmarks.cost",
    "suite": "benchmarks.suite",
    "picture": "benchmarks.picture",
    "reliance": "benchmarks.reliance",
    "stability": "benchmarks.stability",
    "report": "benchmarks.report",
    "startup": "benchmarks.startup",
    "layers": "benchmarks.layers",
    "families": "benchmarks.families",
    "models": "benchmarks.models",
    "objects": "benchmarks.objects",
    "audit": "benchmarks.audit",
    "planted": "benchmarks.planted",
    "twins": "benchmarks.twins",
    "shortcuts": "benchmarks.shortcuts.command",
}


def listing() -> Iterator[str]:
    """The usage, and one line per benchmark: its name and the first line of its module's docstring."""
    yield "python -m benchmarks NAME [options]      --help after a name shows its options"
    yield ""
    for name, module in BENCHMARKS.items():
        path = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
        # Read, not imported: a list does not need torch.
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        yield f"  {name:<11}{docstring.splitlines()[0]}"


def main(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(*listing(), sep="\n")
        return
    name, *rest = arguments
    if name not in BENCHMARKS:
        sys.exit(f"there is no benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    module = import_module(BENCHMARKS[name])
    parser = argparse.ArgumentParser(
        f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.options(parser)
    module.run(parser.parse_args(rest))


if __name__ == "__main__":
    main(sys.argv[1:])
