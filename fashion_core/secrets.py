"""Passwords, tokens and signatures taken out of a text before it is shown or stored."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"
# `//user:password@host`: up to the last @ that a host stands behind; a port is no password, a user may be a mail's
USERINFO = re.compile(r"(?<=://)([^\s:/?#]*):(?!\d{1,5}(?:[/?#]|$))(?:[^\s@]*@(?=[^\s@=]*@))*[^\s@]*@")
# A token in the user's place, with no password or an empty one: long, of letters and digits
USER_TOKEN = re.compile(r"(?<=://)(?=[^\s@]*\d)[A-Za-z0-9_-]{20,}(?::\*\*\*)?@")
# As HTTP's headers carry them
HEADER = re.compile(r"(authorization['\"]?\s*[:=]\s*['\"]?\w+\s+|\bbearer\s+(?=\S{16}))[^\s,;'\"]+", re.IGNORECASE)
# `?name=value` of a query, or `name=value` by itself
VALUE = re.compile(r"(^|[?&;#,\s])([^\s=&?#;,/]+)=([^\s&#]*)")
SECRET = re.compile(r"pass|pwd|token|secret|sig|key|cred|auth|connect|jwt|bearer|^(pw|sas)$", re.IGNORECASE)  # its name
WITHIN = re.compile(r"(pass|pwd|token|secret|key)[\w-]*\s*=", re.IGNORECASE)  # in a value that has values itself


def hide_secrets(text: str) -> str:
    """The text with `***` in place of passwords in URLs, and of what stands in a query under a name like `token`."""
    text = USERINFO.sub(rf"\1:{HIDDEN}@", text)
    text = USER_TOKEN.sub(f"{HIDDEN}@", text)
    text = HEADER.sub(rf"\1{HIDDEN}", text)
    return VALUE.sub(hide_value, text)


def hide_value(match: re.Match[str]) -> str:
    """A value as it is, unless its name, or one within it, says that it is a secret."""
    before, name, value = match.groups()
    is_secret = SECRET.search(unquote(name)) or WITHIN.search(unquote(value))
    return f"{before}{name}={HIDDEN}" if value and is_secret else match[0]
