"""For the site: links to files of the repository that are not pages become their names, and the search has a name."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Material's search says nothing of itself to a screen reader."""
    dialog, toggle = 'data-md-component="search" role="dialog"', 'type="checkbox" id="__search"'
    for unnamed in (dialog, toggle):
        output = output.replace(unnamed, f'{unnamed} aria-label="Search"')
    return output


def on_post_template(output_content: str, **_: Any) -> str:
    """The page for what is not found is no page to MkDocs."""
    return on_post_page(output_content)
