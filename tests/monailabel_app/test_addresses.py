"""Names of hosts and origins: what is one, and which pages are the server's own."""

from __future__ import annotations

import pytest

from lib.errors import InputError
from monailabel_app.addresses import Host, read_host, read_hosts, read_origin, read_origins
from monailabel_app.config import AppConfig


@pytest.mark.parametrize(
    ("text", "name", "port", "address"),
    [
        ("localhost", "localhost", None, False),
        ("LocalHost.:8000", "localhost", 8000, False),
        ("a_b-c.example:", "a_b-c.example", None, False),
        ("192.168.1.7:80", "192.168.1.7", 80, True),
        ("[0:0::1]:8000", "::1", 8000, True),
        ("2130706433", "2130706433", None, False),  # browsers write such addresses with dots
    ],
)
def test_hosts_are_read_in_all_their_forms(text, name, port, address):
    host = read_host(text)
    assert (host.name, host.port, host.is_address) == (name, port, address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "user@localhost",
        "localhost:x",
        "localhost:65536",
        "[::1",
        "[1.2.3.4]",
        "[fe80::1%1]",
    ]
    + ["::1", "a..b", "localhost..", "locälhost", "http://localhost", "localhost/", "a" * 301],
)
def test_what_is_no_host_is_refused(text):
    with pytest.raises(InputError, match="is no"):
        read_host(text)


@pytest.mark.parametrize("text", ["null", "*", "", "file://", "ftp://a", "https://a/b", "//a", "a"])
def test_what_is_no_origin_is_refused(text):
    with pytest.raises(InputError, match="is no"):
        read_origin(text)


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "own"),
    [
        ("http://localhost:8000", "localhost:8000", "http", True),
        ("http://localhost", "localhost:80", "http", True),
        ("https://a.example", "a.example", "http", True),  # a web server in front does TLS
        ("http://a.example", "a.example", "https", False),
        ("http://localhost:8000", "127.0.0.1:8000", "http", False),
        ("http://localhost:8001", "localhost:8000", "http", False),
        ("http://localhost", "localhost:8000", "http", False),
        ("http://evil.example", "localhost", "http", False),
    ],
)
def test_a_page_is_the_servers_own_by_scheme_host_and_port(origin, host, scheme, own):
    assert read_origin(origin).is_at(read_host(host), scheme) is own


def test_options_list_hosts_and_origins():
    assert read_hosts("A.example, b.example.,*") == {"a.example", "b.example", "*"}
    (origin,) = read_origins("https://Viewer.example/")
    assert origin.host == Host("viewer.example", 443)
    for key, value in (("origins", "*"), ("origins", "null"), ("hosts", "http://a")):
        with pytest.raises(InputError, match=f"--conf {key} "):
            AppConfig.from_conf({key: value})
