"""The driver of foreign servers tells each kind of fault from the others: each is planted, alone, in a server that is right."""

import hashlib
import select
import selectors
import socket
import sys
import time
from typing import Any

import pytest

from fsmserver.testing.foreign import PATIENCE_S, Finding, drive
from fsmserver.testing.foreign_scripts import KINDS, NAMELESS, Host, Script, random_script
from fsmserver.testing.foreign_search import reduce, run, search
from fsmserver.testing.kernel import SimKernel
from fsmserver.testing.operations import Operation
from tests.specimens import selectors_echo
from tests.specimens.selectors_echo import Client, Server

HOME = ("127.0.0.1", 8008)
QUIET = Script(Host(), (("connect", 0), ("say", 0, 100)))


def serve() -> None:
    selectors_echo.main(*HOME)


# Faults to plant: what stands in for a part of the right server.

RIGHT_BEGINNING, RIGHT_FOLLOW, RIGHT_SEND = Client.__init__, Client.follow, Client.send


def follow_and_close_at_the_end(client: Client) -> None:
    if client.ended:
        client.close()
    else:
        RIGHT_FOLLOW(client)


def follow_and_close_when_full(client: Client) -> None:
    if len(client.outgoing) > 2000:
        client.close()
    else:
        RIGHT_FOLLOW(client)


def begin_in_blocking_mode(client: Client, server: Server, sock: socket.socket) -> None:
    sock.setblocking(True)
    RIGHT_BEGINNING(client, server, sock)


def send_and_forget(client: Client) -> None:
    client.sock.send(client.outgoing)
    client.outgoing.clear()


def send_twice(client: Client) -> None:
    client.sock.send(client.outgoing)
    RIGHT_SEND(client)


def ready_whatever_comes(client: Client, events: int) -> None:
    if events & selectors.EVENT_READ:
        client.receive()
    if client.outgoing:
        client.send()
    client.follow()


def unregister_only(client: Client) -> None:
    client.server.selector.unregister(client.sock)


def rest_for_ever(server: Server) -> None:
    server.selector.unregister(server.listener)


def run_once(server: Server) -> None:
    for key, mask in server.selector.select():
        server.accept() if key.data is None else key.data.ready(mask)


PLANTED = [
    ("dies", Client, "ready", ready_whatever_comes),
    ("returns", Server, "run", run_once),
    ("spins", Server, "rest", lambda server: None),
    ("blocks", Client, "__init__", begin_in_blocking_mode),
    ("garbles", Client, "send", send_twice),
    ("forgets", Client, "send", send_and_forget),
    ("forgets after the end", Client, "follow", follow_and_close_at_the_end),
    ("closes", Client, "follow", follow_and_close_when_full),
    ("hoards", selectors_echo, "HIGH_BYTES", 1 << 30),
    ("deafens", Server, "rest", rest_for_ever),
    ("leaks", Client, "close", unregister_only),
]


@pytest.mark.parametrize(("kind", "owner", "name", "fault"), PLANTED, ids=[each[0] for each in PLANTED])
def test_each_kind_of_fault_is_found_and_reduced(kind: str, owner: Any, name: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, name, fault)
    found = next(each for each in search(serve, range(200)) if each.finding.kind == kind)
    script = reduce(serve, random_script(found.seed), found.finding)
    print(f"{found}: {script}")
    assert found.finding in run(serve, script).findings
    assert len(script.operations) <= 8


def test_each_kind_that_is_documented_was_planted() -> None:
    import fsmserver.testing.foreign as module

    for kind, *_ in PLANTED:
        assert f"| `{kind}` |" in (module.__doc__ or "")


# What the driver does.


def test_a_right_server_is_found_right_and_reported_on() -> None:
    report = run(serve, QUIET)
    assert report.findings == ()
    assert report.outcome == "served"
    assert [(peer.said_bytes, peer.heard_bytes, peer.complete) for peer in report.peers] == [(100, 100, True)]
    assert (report.newcomer_served, report.left_open, report.operations) == (True, (), 2)
    assert str(report).startswith("nothing wrong (2 operations, ")


def test_the_program_is_unwound_and_may_tidy_up() -> None:
    tidied: list[str] = []

    def program() -> None:
        try:
            serve()
        except Exception:
            pytest.fail("this is not for the program to catch")
        finally:
            time.sleep(0)
            tidied.append("finally")

    assert run(program, QUIET).outcome == "served"
    assert tidied == ["finally"]


def test_a_program_that_will_not_end_is_interrupted_again() -> None:
    interrupted: list[int] = []

    def program() -> None:
        try:
            serve()
        except BaseException:
            while True:
                try:
                    time.sleep(0)
                except BaseException:
                    interrupted.append(1)
                    raise

    assert run(program, QUIET).outcome == "served"
    assert interrupted == [1]


def test_a_program_that_fails_while_it_is_unwound_was_right_until_then() -> None:
    def program() -> None:
        try:
            serve()
        finally:
            raise RuntimeError("too late to matter")

    assert run(program, QUIET).findings == ()


def test_a_program_that_swallows_everything_is_interrupted_at_its_next_wait() -> None:
    def program() -> None:
        with socket.create_server(HOME) as listener:
            while True:
                try:
                    listener.accept()
                except BaseException:
                    time.sleep(0)

    assert run(program, QUIET).findings == (Finding("blocks", "accept"),)


def test_a_server_that_stops_listening_deafens() -> None:
    def program() -> None:
        with socket.create_server(HOME) as listener:
            select.select([listener], [], [])
            _accepted = listener.accept()
        while True:
            time.sleep(1)

    script: list[Operation] = [("connect", 0), ("connect", 1), ("pass", 1000), ("connect", 2), ("false_report", 1, 1)]
    assert Finding("deafens") in drive(program, SimKernel(), script).findings


def test_a_program_that_polls_without_waiting_is_driven_by_its_sleeps_or_found_to_spin() -> None:
    def program(pause_s: float | None) -> None:
        with socket.create_server(HOME) as listener:
            listener.setblocking(False)
            while True:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    if pause_s is not None:
                        time.sleep(pause_s)

    assert drive(lambda: program(None), SimKernel(), []).outcome == "spins"
    assert drive(lambda: program(0), SimKernel(), []).outcome == "spins"
    assert drive(lambda: program(0.1), SimKernel(), []).outcome == "served"


def test_a_program_that_ends_itself_has_died() -> None:
    report = run(lambda: sys.exit(3), QUIET)
    assert report.findings == (Finding("dies", "SystemExit in <lambda>: report = run(lambda: sys.exit(3), QUIET)"),)
    assert isinstance(report.error, SystemExit)


def test_a_program_that_listens_nowhere_cannot_be_driven() -> None:
    def sleep() -> None:
        while True:
            time.sleep(1)

    for program in (sleep, lambda: selectors.DefaultSelector().select()):
        with pytest.raises(ValueError, match="listens nowhere"):
            run(program, QUIET)


def test_operations_that_cannot_be_done_are_passed_over() -> None:
    def all_of(peer: int) -> list[Operation]:
        return [(name, *(() if name in NAMELESS else (peer,)), *(each[0] for each in kind.arguments)) for name, kind in KINDS.items()]

    absent = [each for each in all_of(7) if each[0] not in ("connect", *NAMELESS)]
    unaccepted = [("connect", 0), ("connect", 0), *all_of(0)[1:]]
    gone = [("connect", 1), ("end", 1), ("cut", 1), *all_of(1)]
    assert drive(serve, SimKernel(), [*absent, *unaccepted, *gone]).findings == ()


def test_a_peer_that_was_lost_is_owed_nothing() -> None:
    report = drive(serve, SimKernel(), [("connect", 0), ("say", 0, 100), ("lose", 0, 110)])
    assert report.findings == ()
    assert [peer.owed for peer in report.peers] == [False]


CROWD: list[Operation] = [each for number in range(10) for each in (("connect", number), ("say", number, 5))]


def test_those_who_find_no_descriptor_left_are_served_when_others_have_gone() -> None:
    report = drive(serve, SimKernel(descriptors=9), CROWD)
    assert report.findings == ()
    assert [peer.complete for peer in report.peers] == [True] * 10
    assert report.seconds < PATIENCE_S, "nobody is waited for who cannot come in"


def test_those_who_find_no_descriptor_left_may_be_refused() -> None:
    class Refusing(Server):
        def __init__(self) -> None:
            super().__init__(*HOME, "DefaultSelector")
            self.spare = socket.socket()

        def rest(self) -> None:
            self.spare.close()
            self.listener.accept()[0].close()
            self.spare = socket.socket()

    report = drive(lambda: Refusing().run(), SimKernel(descriptors=9), CROWD)
    assert report.findings == ()
    assert [peer.owed for peer in report.peers] == [True] * 3 + [False] * 7


def test_time_passes_for_the_program_and_what_is_late_arrives() -> None:
    script = [("connect", 0), ("round",), ("delay", 0, 1000), ("say", 0, 5), ("pass", 70), ("say", 0, 5), ("pass", 5000)]
    report = drive(serve, SimKernel(), script)
    assert report.findings == ()
    assert report.seconds >= 5


# Scripts.


def test_scripts_of_a_seed_are_the_same_on_every_machine() -> None:
    lines = "\n".join(str(random_script(seed)) for seed in range(100))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "f2dd66bad09cc132"


def test_odd_seeds_draw_what_is_in_play_and_even_ones_do_not() -> None:
    def kinds(seed: int) -> set[str]:
        return {name for name, *_ in random_script(seed).operations}

    assert set().union(*map(kinds, range(0, 100, 2))) == set().union(*map(kinds, range(1, 100, 2))) == set(KINDS)
    long_ones = [seed for seed in range(200) if len(random_script(seed).operations) > 50]
    average = [
        sum(len(kinds(seed)) for seed in long_ones if seed % 2 == odd) / len([s for s in long_ones if s % 2 == odd]) for odd in (0, 1)
    ]
    assert average[0] > average[1] + 2


def test_a_script_says_what_is_unusual_about_its_host() -> None:
    assert str(Script(Host(descriptors=9), (("connect", 0), ("say", 0, 5), ("round",)))) == "[descriptors 9] connect(0) say(0, 5) round()"
    assert str(Script(Host(), ())) == "(nothing but the newcomer)"


def test_only_what_shows_a_finding_can_be_reduced() -> None:
    with pytest.raises(ValueError, match="does not show 'hoards'"):
        reduce(serve, QUIET, Finding("hoards"))
