"""The names visitors give themselves."""

import unicodedata

#: In characters, after cleaning.
MAX_NAME_LENGTH = 20


def clean_name(raw: str) -> str:
    """Return `raw` fit to be shown to others, or an empty string when nothing of it is left.

    Line breaks become spaces; control, formatting and direction characters go, since one of
    these can reorder the rest of a line. So does the colon: "Ada: hello" must be what Ada
    said, never somebody's name.
    """
    spaced = " ".join(raw.split())
    visible = "".join(
        character
        for character in spaced
        if character != ":" and not unicodedata.category(character).startswith("C")
    )
    return visible[:MAX_NAME_LENGTH].strip()
