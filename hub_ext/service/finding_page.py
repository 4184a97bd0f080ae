"""The page of a finding's code, for those who read about somebody's server.

Guarantees: the text is the one that the doctor itself shows (docs/findings.md); it is escaped, so
nothing in it is markup but what is listed here.
"""

from __future__ import annotations

import html
import re

# what the pages use: `code`, **strong**, *emphasis*
_INLINE = (
    (re.compile(r"\*\*(.+?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\*([^*\s][^*]*)\*"), r"<em>\1</em>"),
)


def title_of(section: str) -> str:
    """The heading, without its mark."""
    return section.partition("\n")[0].removeprefix("## ").strip()


def to_html(section: str) -> str:
    """The paragraphs below the heading, as markup."""
    return paragraphs_html(section.partition("\n")[2])


def paragraphs_html(text: str) -> str:
    """Paragraphs, as markup."""
    paragraphs = [each.strip() for each in re.split(r"\n\s*\n", text)]
    return "\n".join(f"<p>{inline_html(each)}</p>" for each in paragraphs if each)


def inline_html(text: str) -> str:
    """A line, as markup."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a lonely mark is a character like others
        parts = [text]
    made = []
    for number, part in enumerate(parts):
        shown = html.escape(part)
        if number % 2:
            made.append(f"<code>{shown}</code>")
            continue
        for pattern, markup in _INLINE:
            shown = pattern.sub(markup, shown)
        made.append(shown)
    return "".join(made)
