"""Passwords, tokens and signatures taken out of a text before it is shown or stored."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
# `//user:password@host`: up to the last @ before the path, or else the first one; a port is no password
USERINFO = re.compile(r"(?<=://)([^\s:/?#@]*):(?!\d{1,5}(?:[/?#]|$))(?:[^\s/?#]*|[^\s@]*)@")
# `?name=value` of a query, or `name=value` by itself
VALUE = re.compile(r"(^|[?&;#,\s])([^\s=&?#;,/]+)=([^\s&#]*)")
SECRET = re.compile(r"pass|pwd|token|secret|sig|key|cred|auth|connect", re.IGNORECASE)  # in a value's name


def hide_secrets(text: str) -> str:
    """The text with `***` in place of passwords in URLs, and of what stands in a query under a name like `token`."""
    return VALUE.sub(hide_value, USERINFO.sub(rf"\1:{HIDDEN}@", text))


def hide_value(match: re.Match[str]) -> str:
    """A value as it is, unless its name says that it is a secret."""
    before, name, value = match.groups()
    return f"{before}{name}={HIDDEN}" if value and SECRET.search(unquote(name)) else match[0]
