"""Where a model server may not be: link-local and metadata addresses, in whatever form they are written.

Machines in a cloud tell their keys to whoever asks these addresses from inside.
"""

import socket
import unicodedata
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import unquote, urlsplit

REFUSED_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local (RFC 3927): the metadata of AWS, Google, Azure and most others
        "fe80::/10",  # link-local (RFC 4291)
        "fd00:ec2::/32",  # AWS metadata over IPv6
        "fd20:ce::254/128",  # Google's
        "100.100.100.200/32",  # Alibaba's
        "192.0.0.192/32",  # Oracle's
        "168.63.129.16/32",  # Azure's agent
    )
)
REFUSED_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_SIX_TO_FOUR, _NAT64 = ip_network("2002::/16"), ip_network("64:ff9b::/96")


def is_refused(host: str) -> bool:
    """Tell whether a host is a refused name, or writes a refused address; other names are not looked up.

    IPv4 may be dotted or one number, decimal, octal or hexadecimal; IPv6 may hold an IPv4 address inside.
    """
    name = unicodedata.normalize("NFKC", unquote(host)).replace("。", ".").strip().rstrip(".").lower()
    if name in REFUSED_NAMES or name.startswith("instance-data."):
        return True
    return any(address in network for address in _addresses(name) for network in REFUSED_NETWORKS)


def host_of(url: str) -> str:
    """Return the host of a URL, empty where it has none or is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _addresses(text: str) -> Iterator[IPv4Address | IPv6Address]:
    """Yield what a text writes: an address, and the IPv4 address inside an IPv6 one."""
    try:
        found = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        try:
            found = IPv4Address(socket.inet_aton(text))  # as every resolver of the C library reads it
        except (OSError, ValueError):
            return
    yield found
    if isinstance(found, IPv6Address):
        low = IPv4Address(int(found) & 0xFFFFFFFF)
        if found.ipv4_mapped or found in _NAT64 or int(found) >> 32 == 0:
            yield low
        if found in _SIX_TO_FOUR:
            yield IPv4Address(int(found) >> 80 & 0xFFFFFFFF)
