"""For the site: links to files of the repository that are not pages become their names, the search has a name, and tables
that are wider than the window scroll by keyboard.
"""

import posixpath
import re
from typing import Any

_UPWARDS = re.compile(r"\[([^\]]+)\]\((\.\./[^)]+)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    def named(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), link[2]))
        return link[0] if target.startswith("docs/") else f"{link[1]} (`{target}` in the repository)"

    return _UPWARDS.sub(named, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Material wraps a table in what scrolls when the page is open, which the keyboard cannot reach; this can be reached."""
    open_, close = '<div class="wide" role="region" aria-label="Table" tabindex="0"><table>', "</table></div>"
    return html.replace("<table>", open_).replace("</table>", close)


def on_post_page(output: str, **_: Any) -> str:
    """Material's search says nothing of itself to a screen reader."""
    dialog, toggle = 'data-md-component="search" role="dialog"', 'type="checkbox" id="__search"'
    for unnamed in (dialog, toggle):
        output = output.replace(unnamed, f'{unnamed} aria-label="Search"')
    return output


def on_post_template(output_content: str, **_: Any) -> str:
    """The page for what is not found is no page to MkDocs."""
    return on_post_page(output_content)
