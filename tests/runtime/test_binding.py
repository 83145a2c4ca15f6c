"""Addresses as people write them, and sockets that listen there."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from fsmserver.runtime.binding import BindError, Endpoint, Inherited, Tcp, Unix, bind, parse_endpoint

LOCAL = "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:80", Tcp("127.0.0.1", 80)),
        ("tcp://[::1]:0", Tcp("::1", 0)),
        ("tcp://localhost:65535", Tcp("localhost", 65535)),
        ("unix:///run/x", Unix("/run/x")),
        ("fd://3", Inherited(3)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("localhost", "needs a port"), ("x:70000", "needs a port"), ("x:y", "needs a port"), (":80", "needs a host"),
        ("unix://", "is not an address"), ("fd://x", "is not an address"), ("http://x:1", "is not an address"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_said_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_endpoint(text)


def close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_a_port_of_the_systems_choice_is_the_same_for_every_family(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.2", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    sockets = bind(Tcp("both", 0), 5)
    ports = {sock.getsockname()[1] for sock in sockets}
    assert len(sockets) == 2
    assert len(ports) == 1
    assert not sockets[0].getblocking()
    close(sockets)


def test_a_family_that_the_host_does_not_have_is_left_out_while_another_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Any = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 0))
    present: Any = (socket.AF_INET, socket.SOCK_STREAM, 0, "", (LOCAL, 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [absent, present])
    sockets = bind(Tcp("x", 0), 5)
    assert len(sockets) == 1
    close(sockets)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [absent])
    with pytest.raises(BindError, match="cannot listen on tcp://x:0"):
        bind(Tcp("x", 0), 5)


def test_ipv6_listens_for_ipv6_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsmserver.runtime import binding

    options: list[tuple[int, int, int]] = []

    class Recording:
        def setblocking(self, flag: bool) -> None: ...

        def setsockopt(self, *option: int) -> None:
            options.append(option)  # type: ignore[arg-type]

    binding._prepare(Recording(), socket.AF_INET6)  # type: ignore[arg-type]
    assert (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1) in options


def test_a_port_in_use_is_said_in_a_sentence() -> None:
    with socket.create_server((LOCAL, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"cannot listen on tcp://{LOCAL}:{port}: Address already in use"):
            bind(Tcp(LOCAL, port), 5)


@pytest.mark.parametrize("endpoint", [Tcp("a" * 70 + ".example", 1), Unix("/tmp/\0"), Unix("/" + "x" * 200)])
def test_a_name_that_cannot_be_is_a_bind_error(endpoint: Endpoint) -> None:
    with pytest.raises(BindError, match="cannot listen on"):
        bind(endpoint, 5)


def test_a_unix_path_is_taken_over_from_the_dead_and_not_from_the_living(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    (first,) = bind(Unix(path), 5)
    with pytest.raises(BindError, match="Address already in use"):
        bind(Unix(path), 5)
    first.close()
    (second,) = bind(Unix(path), 5)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    second.close()
    assert os.listdir(tmp_path) == ["s"]


def test_a_full_backlog_is_a_living_server(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    clients = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        for _ in range(2):
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
            clients[-1].connect_ex(path)
        with pytest.raises(BindError, match="Address already in use"):
            bind(Unix(path), 5)
    close(clients)


def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(BindError, match="is not a socket"):
        bind(Unix(str(path)), 5)
    assert path.read_text() == "precious"


def test_a_directory_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(BindError, match="No such file"):
        bind(Unix(str(tmp_path / "no" / "s")), 5)


def test_an_inherited_socket_must_listen_and_stays_its_owners_if_not() -> None:
    with socket.create_server((LOCAL, 0)) as listening:
        (taken,) = bind(Inherited(os.dup(listening.fileno())), 5)
        assert taken.getsockname() == listening.getsockname()
        assert not taken.get_inheritable()
        taken.close()
    with socket.socket() as idle:
        with pytest.raises(BindError, match="does not listen"):
            bind(Inherited(idle.fileno()), 5)
        assert os.fstat(idle.fileno())
    with pytest.raises(BindError) as caught:
        bind(Inherited(9999), 5)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EBADF
