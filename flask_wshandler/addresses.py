"""Addresses of services, as logs and messages may show them."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(://[^:@]*:).*(?=@)|([?&]password=)[^&]*")


def without_password(text: str) -> str:
    """The address, or a text with one address in it, with `***` for its password."""
    return _PASSWORD.sub(r"\1\2***", text)
