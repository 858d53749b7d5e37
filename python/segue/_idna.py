"""Host names in the form that the network knows: ASCII.

The standard library's codec follows IDNA 2003, which turns `faß.de` into another name, `fass.de`. For the four
characters in which the standards differ, this follows IDNA 2008 (RFC 5891 and UTS 46, nontransitional).
"""

from __future__ import annotations

import unicodedata
from encodings import idna

# sharp s, final sigma, zero width non-joiner, zero width joiner
_DEVIATING = frozenset("\u00df\u03c2\u200c\u200d")


def encode_hostname(hostname: str) -> bytes:
    """The ASCII form of a host name; what is ASCII already, such as an IP address, stays as it is.

    UnicodeError if there is none. https://trio.readthedocs.io/en/stable/reference-lowlevel.html
    """
    if hostname.isascii():
        return hostname.encode("ascii")
    labels = idna.dots.split(hostname)
    return b".".join(_encode_label(label) for label in labels)


def _encode_label(label: str) -> bytes:
    if not label:
        return b""  # of the dot at the end
    if _DEVIATING.isdisjoint(label.replace("\u1e9e", "\u00df")):
        return idna.ToASCII(label)
    mapped = unicodedata.normalize("NFKC", label.lower())
    encoded = b"xn--" + mapped.encode("punycode")
    if len(encoded) > 63:
        raise UnicodeError("label too long")
    return encoded
