"""The command line `pytest-gradcam`: arguments to calls, nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from pytest_gradcam.cli import auditing, drawing, models, reports, start
from pytest_gradcam.cli.shared import PROGRAM
from pytest_gradcam.evidence.messages import one_line

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_SETTINGS, invoke_without_command=True)
@click.version_option(package_name="pytest-gradcam", prog_name=PROGRAM)
@click.pass_context
def commands(context: click.Context) -> None:
    """Unit tests for what a vision model looks at: the commands around them.

    The tests themselves run under pytest. Each command takes --help, and --json for output that programs read.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (*start.COMMANDS, *models.COMMANDS, *drawing.COMMANDS, *reports.COMMANDS, *auditing.COMMANDS):
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of the command: 0, 1 if it answers no, 2 with one line on stderr if it cannot answer."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as python -m does: package.module:callable is found from here
    try:
        return int(commands.main(args=arguments, prog_name=PROGRAM, standalone_mode=False) or 0)
    except click.Abort:
        return _refused("interrupted")
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        return _refused(f"{error.format_message()} ({path} --help shows how to use it)")
    except OSError as error:
        return _refused(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except ValueError as error:
        return _refused(str(error))


def _refused(reason: str) -> int:
    print(one_line(f"error: {' '.join(reason.split())}"), file=sys.stderr)
    return 2
