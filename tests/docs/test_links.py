"""Links between pages lead somewhere, and every page is found from the index."""

import re
from pathlib import PurePosixPath

import pytest

from .pages import ROOT, pages

_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def targets(page):
    """What a page links to, from the root of the repository."""
    folder = PurePosixPath(page).parent
    return [(ROOT / folder / link).resolve() for link in _LINK.findall(pages()[page])]


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page):
    assert [str(target) for target in targets(page) if not target.exists()] == []


def test_every_page_is_found_from_the_index():
    found, waiting = set(), ["docs/README.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        for target in targets(page):
            inside = sorted(target.glob("*.md")) if target.is_dir() else [target]
            names = [str(path.relative_to(ROOT)) for path in inside]
            waiting += [name for name in names if name in pages() and name not in found]
    assert found >= {page for page in pages() if page.startswith("docs/")}
