"""The commands on reports: python -m pytest_gradcam COMMAND."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

#: Each is a module with a docstring, which is its help, `arguments(parser)` and `run(options) -> exit status`.
COMMANDS = {
    "calibrate": "pytest_gradcam.report.calibrate",
    "merge": "pytest_gradcam.report.merge",
    "verify": "pytest_gradcam.report.manifest",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of the command: 0, 1 if it answers no, 2 if it cannot answer."""
    parser = argparse.ArgumentParser(prog="python -m pytest_gradcam", description="Commands on gradcam reports.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, path in COMMANDS.items():
        module = import_module(path)
        first = (module.__doc__ or "").splitlines()[0]
        command = subparsers.add_parser(name, help=first, description=module.__doc__)
        module.arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
