"""What a test needs from a Markdown file: its code, its tables, its links."""

import re
from dataclasses import dataclass
from pathlib import Path

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK_OR_HEADING = re.compile(
    r"(?:^<!-- not run: (?P<why>[^>]+) -->\n+)?"
    r"^```(?P<language>\S*)\n(?P<code>.*?)^```$|^## (?P<heading>[^\n]+)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: `heading` is the one of the second level above it, "" before the first."""

    page: Path
    heading: str
    language: str
    code: str
    #: The reason in a comment above it, `<!-- not run: … -->`; else empty.
    why_not_run: str

    def __str__(self) -> str:
        return f"{self.page.name}, {self.heading!r}: {self.language} {self.code[:60]!r}"


class MarkdownPage:
    """One file, by the headings of its second level."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        parts = _HEADING.split(self.text)
        self._sections = dict(zip(parts[1::2], parts[2::2], strict=True))

    @property
    def blocks(self) -> list[Block]:
        """All fenced blocks, in their order; not those of Sphinx's directives."""
        found, heading = [], ""
        for match in _BLOCK_OR_HEADING.finditer(self.text):
            if match["heading"]:
                heading = match["heading"]
            elif not match["language"].startswith("{"):
                why = match["why"] or ""
                found.append(Block(self.path, heading, match["language"], match["code"], why))
        return found

    def code(self, heading: str, language: str) -> list[str]:
        """The blocks of code in one language below a heading."""
        blocks = _FENCED.findall(self._sections[heading])
        return [code for found, code in blocks if found == language]

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of the tables below a heading, without the tables' heads."""
        lines = [line for line in self._sections[heading].splitlines() if line.startswith("|")]
        heads = [i for i, line in enumerate(lines) if not line.strip("|-")]
        left_out = {line for i in heads for line in (i - 1, i)}
        return [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for i, line in enumerate(lines)
            if i not in left_out
        ]

    def linked_files(self) -> list[str]:
        """The targets of links and images that are files of this project."""
        targets = [target.partition("#")[0] for target in _LINK.findall(self.text)]
        return [target for target in targets if target and "://" not in target]
