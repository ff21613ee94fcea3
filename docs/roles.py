"""MkDocs hook: drop the roles of Sphinx that docstrings use (``:class:`` before a name)."""

from __future__ import annotations

import re
from typing import Any


def on_page_content(html: str, **_: Any) -> str:
    """Keep the name alone."""
    return re.sub(r":(?:attr|class|data|func|meth|mod):(?=<code>)", "", html)
