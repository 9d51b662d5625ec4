"""Where the tables of the peers' benchmarks stand in docs/."""

import sys


def write_docs(page, marks, text):
    """Puts the tables between the marks of a page and leaves the rest."""
    whole = page.read_text()
    begin, end = marks
    if whole.count(begin) != 1 or whole.count(end) != 1:
        sys.exit(f"error: {page} lacks its marks `{begin}` and `{end}`")
    head, rest = whole.split(begin)
    tail = rest.split(end)[1]
    page.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}")
