from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.platform.host_header import host_of, is_ours


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:9753", "localhost.", "127.0.0.1", "127.0.0.1:9753", "127.8.9.1:1",
        "[::1]:9753", "[::1]", "ip6-localhost:9753", "gpu1.example.org:443", "GPU1.example.org",
    ],
)  # fmt: skip
def test_loopback_and_configured_names_are_ours(host: str):
    assert is_ours([host], {"gpu1.example.org"})


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:9753", "localhost.evil.example", "127.0.0.1.evil.example:9753",
        "0.0.0.0", "192.168.1.2:9753", "[::]:9753", "[fe80::1]", "evil@localhost", "localhost:9753:1",
        "localhost/x", "::1", "2130706433", "0x7f000001", "127.1", "localhost evil", "localhost\t",
        "[localhost]", "127.0.0.1:123456", "localho\u017ft", "\uff4cocalhost",
    ],
)  # fmt: skip
def test_every_other_host_is_refused(host: str):
    assert not is_ours([host], {"gpu1.example.org"})


def test_a_request_without_the_header_comes_from_no_browser_and_one_with_two_is_refused():
    assert is_ours([])
    assert not is_ours(["localhost", "localhost"])
    assert not is_ours(["localhost", "evil.example"])


@given(st.text(max_size=300))
def test_no_text_breaks_it_and_what_is_found_has_no_port(authority: str):
    found = host_of(authority)
    assert found == found.lower()
    assert not is_ours([authority]) or found
    assert "[" not in found


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535))
def test_addresses_are_ours_where_they_are_loopback(address: IPv4Address | IPv6Address, port: int):
    text = f"[{address}]" if address.version == 6 else str(address)
    assert is_ours([f"{text}:{port}"]) == address.is_loopback
