"""Who ran what, when, and on what: read once per run, if a report is requested."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from uuid import uuid4

from pytest_gradcam.report.document import Run

#: Variables that say which job of which pipeline ran; none is a secret.
_CI = (
    "CI",
    *("GITHUB_REPOSITORY", "GITHUB_WORKFLOW", "GITHUB_JOB", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_SHA"),
    *("GITHUB_REF", "GITHUB_ACTOR", "GITHUB_EVENT_NAME", "GITHUB_SERVER_URL", "RUNNER_NAME"),
    *("CI_PROJECT_PATH", "CI_PIPELINE_ID", "CI_JOB_ID", "CI_JOB_URL", "CI_COMMIT_SHA", "CI_COMMIT_REF_NAME"),
    *("GITLAB_USER_LOGIN", "CI_RUNNER_DESCRIPTION"),
    *("JOB_NAME", "BUILD_NUMBER", "BUILD_URL", "GIT_COMMIT", "NODE_NAME"),
    *("BUILD_REPOSITORY_NAME", "BUILD_BUILDID", "BUILD_SOURCEVERSION", "BUILD_REQUESTEDFOR"),
    *("CIRCLE_BUILD_URL", "CIRCLE_SHA1", "BITBUCKET_BUILD_NUMBER", "BITBUCKET_COMMIT", "BUILDKITE_BUILD_URL"),
)
_PACKAGES = (
    *("pytest-gradcam", "grad-cam", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-image", "pillow"),
    *("matplotlib", "safetensors", "hypothesis", "pytest", "pytest-xdist", "pytest-randomly"),
)


def begin(
    *, command: tuple[str, ...], settings: Mapping[str, object], seeds: Mapping[str, str], directory: Path
) -> Run:
    """The run that begins now, in a working directory that may be a git repository."""
    commit, clean = _commit(directory)
    return Run(
        id=uuid4().hex,
        started=now(),
        command=command,
        settings=dict(settings),
        seeds={"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "random"), **seeds},
        packages=dict(_packages()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        user=_user(),
        host=platform.node(),
        ci={name: os.environ[name] for name in _CI if name in os.environ},
        commit=commit,
        clean=clean,
    )


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _packages() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container whose user has no name
        return ""


def _commit(directory: Path) -> tuple[str, bool | None]:
    """The commit of the working tree and whether nothing in it was changed; empty and None outside of git."""
    commit = _git(directory, "rev-parse", "HEAD")
    if not commit:
        return "", None
    status = _git(directory, "status", "--porcelain", "--untracked-files=no")
    return commit, None if status is None else not status


def uncommitted(run: Run, directory: Path, files: Iterable[str], configuration: Path | None) -> list[str]:
    """Which of these files, their conftest.py and the configuration are in no commit; none where git does not tell.

    `files` are named from the directory, with slashes.
    """
    known = _git(directory, "ls-tree", "-r", "-z", "--name-only", "HEAD") if run.commit else None
    if known is None:
        return []
    folders = {folder for file in files for folder in (directory / file).parents if folder.is_relative_to(directory)}
    paths = {*(directory / file for file in files), *(folder / "conftest.py" for folder in folders)}
    paths |= {configuration} if configuration is not None else set()
    named = {
        path.relative_to(directory).as_posix() for path in paths if path.is_relative_to(directory) and path.is_file()
    }
    return sorted(named - set(known.split("\0")))


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return done.stdout.strip()
