"""Pictures for the reports of other plugins, if they are loaded. Nothing of theirs is ever imported."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any


def html_extra(picture: str) -> Any:
    """The picture for pytest-html's report, inside its page; None if it cannot be read."""
    extras = getattr(sys.modules.get("pytest_html"), "extras", None)
    try:
        content = Path(picture).read_bytes()
    except OSError:
        return None
    return extras.png(base64.b64encode(content).decode(), name=Path(picture).name) if extras else None


def to_allure(picture: str, name: str) -> None:
    """Attach the picture to the test that Allure is listening to."""
    allure = sys.modules.get("allure")
    if allure is not None and Path(picture).is_file():
        allure.attach.file(picture, name=name, attachment_type=allure.attachment_type.PNG)
