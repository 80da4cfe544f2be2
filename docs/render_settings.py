"""Writes settings.md from the table of options: python docs/render_settings.py."""

from collections.abc import Iterator
from pathlib import Path

from pytest_gradcam.settings import MARKER_KEYS, OPTIONS, Settings

PAGE = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Generated from the table of options by `python docs/render_settings.py`. The marker `@pytest.mark.gradcam(...)` takes precedence
over the command line, that over pytest's configuration (`pyproject.toml`, `pytest.ini`), and that over the default. Unknown names
and bad values stop the run before its first test. Paths in the configuration begin at its folder.

| configuration | command line | marker | default | |
| --- | --- | --- | --- | --- |
"""


def render() -> str:
    return HEAD + "".join(f"{row}\n" for row in rows())


def rows() -> Iterator[str]:
    yield "| | | `target` | | what this test explains |"
    for option in OPTIONS:
        default = getattr(Settings(), option.name)
        cells = (
            "" if option.switch else f"`{option.ini}`",
            f"`{option.flag}`",
            f"`{option.name}`" if option.name in MARKER_KEYS else "",
            "" if default in (None, False) else f"`{default}`",
            option.help.replace("|", "\\|"),
        )
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
