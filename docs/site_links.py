"""For the site: links to files of the repository that are not pages become their names, and the search has a name."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Material's search is a dialog that says nothing of itself to a screen reader."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )
