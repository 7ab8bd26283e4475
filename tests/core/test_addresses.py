"""Model servers are never looked for at link-local or metadata addresses, in whatever form these are written."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.addresses import is_refused
from seedbed.core.errors import ConfigError
from seedbed.core.load import parse_config

FORMS = [
    "169.254.169.254",
    "169.254.169.254.",
    "169.254.0.1",
    "169.254.43518",
    "169.16689662",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "025177524776",
    "0251.254.0xa9.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:a9fe:a9fe]",
    "[::169.254.169.254]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[febf::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "100.100.100.200",
    "1684301000",
    "192.0.0.192",
    "168.63.129.16",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata.goog",
    "metadata",
    "instance-data",
    "instance-data.ec2.internal",
    "１６９.２５４.１６９.２５４",
    "①⑥⑨.254.169.254",
    "169。254。169。254",
    "169%2e254%2e169%2e254",
    "user:password@169.254.169.254",
    "127.0.0.1@169.254.169.254",
]
HARMLESS = [
    "127.0.0.1",
    "localhost",
    "[::1]",
    "10.1.2.3",
    "192.168.0.9",
    "169.253.255.255",
    "169.255.0.0",
    "[fec0::1]",
    "[2001:db8::1]",
    "api.example.com",
    "metadata.example.com",
    "169.254.169.254.example.com",
    "169.254.169.254@127.0.0.1",
    "3232235521",
]


def parsed(base_url: str) -> str:
    endpoint = {"name": "local", "model": "m", "base_url": base_url}
    return parse_config({"teacher": "local", "endpoints": [endpoint]}, "seedbed.toml").endpoints[0].base_url


@pytest.mark.parametrize("host", FORMS)
@pytest.mark.parametrize("around", ["http://{}/v1", "https://{}:8080", "http://{}/v1?x=http://127.0.0.1/#y"])
def test_a_config_with_a_metadata_address_is_refused_in_every_form(host: str, around: str) -> None:
    with pytest.raises(ConfigError, match="link-local or metadata") as raised:
        parsed(around.format(host))
    assert "password" not in str(raised.value)


@pytest.mark.parametrize("host", HARMLESS)
def test_other_hosts_are_taken(host: str) -> None:
    assert parsed(f"http://{host}/v1") == f"http://{host}/v1"


@pytest.mark.parametrize("url", ["http://[", "http://", "http://[::1", "http://a:b:c@"])
def test_a_malformed_url_is_one_line(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(url)
    assert "\n" not in str(raised.value)


@given(st.integers(0, 2**16 - 1))
def test_no_link_local_address_slips_through(low: int) -> None:
    address = IPv4Address((169 << 24) + (254 << 16) + low)
    octets = str(address).split(".")
    forms = [
        str(address),
        str(int(address)),
        hex(int(address)),
        f"0{int(address):o}",
        ".".join(f"0{int(octet):o}" for octet in octets),
        ".".join(hex(int(octet)) for octet in octets),
        str(IPv6Address((0xFFFF << 32) + int(address))),
        f"::ffff:{address}",
    ]
    assert [form for form in forms if not is_refused(form)] == []


@given(st.ip_addresses())
def test_an_address_is_refused_where_the_standard_library_calls_it_link_local(
    address: IPv4Address | IPv6Address,
) -> None:
    assert is_refused(str(address)) >= address.is_link_local
