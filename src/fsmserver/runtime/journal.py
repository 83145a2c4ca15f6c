"""What the runtime tells its operators: one logger, a sentence a thing, and a bound on how much a peer can cause.

Lines about single connections are limited to `log_lines_per_s`; what goes beyond is counted and said in one line.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fsmserver.core.limits import Limits
    from fsmserver.runtime.link import Link
    from fsmserver.runtime.listener import Listener

LOGGER: Final = logging.getLogger("fsmserver")


class Journal:
    """Writes to the logger `fsmserver`: INFO for each connection, WARNING for what an operator should know."""

    def __init__(self, limits: Limits, logger: logging.Logger = LOGGER) -> None:
        """Bind the limits; whether INFO is wanted is asked once, here."""
        self._logger = logger
        self.verbose = logger.isEnabledFor(logging.INFO)
        self._most_lines = limits.log_lines_per_s
        self._slow_callback_s = limits.slow_callback_s
        self._second = 0
        self._lines = 0
        self._suppressed = 0

    def opened(self, link: Link) -> None:
        """Say that a connection is open."""
        self._line(link, logging.INFO, "%s opened", link.name)

    def closed(self, link: Link) -> None:
        """Say that a connection is closed: why, and how much went each way."""
        fsm = link.fsm
        self._line(
            link, logging.INFO, "%s closed, %s; %d bytes in, %d bytes out",
            link.name, fsm.close_reason, fsm.received_bytes, fsm.outbox.taken_bytes,
        )  # fmt: skip

    def protocol_failed(self, link: Link, error: BaseException) -> None:
        """Say that a protocol raised; its connection is aborted."""
        text = "".join(traceback.format_exception(error)).rstrip()
        self._line(link, logging.ERROR, "%s aborted: its protocol failed while %s\n%s", link.name, link.fsm.state, text)

    def socket_failed(self, link: Link, error: OSError) -> None:
        """Say that a socket failed in a way that peers do not cause."""
        self._line(link, logging.WARNING, "%s lost: %s", link.name, error)

    def not_admitted(self, listener_name: str, error: BaseException, now_s: float) -> None:
        """Say that a newcomer could not be set up; its socket is closed, everything else goes on."""
        text = "".join(traceback.format_exception(error)).rstrip()
        self._limited(now_s, logging.ERROR, "a connection from %s was closed: it could not be set up\n%s", listener_name, text)

    def slow(self, who: str, state: str, took_s: float) -> None:
        """Say that a callback kept everybody waiting."""
        self._logger.warning(
            "slow callback: %s kept the loop for %.0f ms while %s (slow_callback_s is %g s); long work belongs in run_in_executor",
            who, took_s * 1000, state, self._slow_callback_s,
        )  # fmt: skip

    def callback_failed(self, what: str, error: BaseException) -> None:
        """Say that a callback of no connection raised."""
        self._logger.error("callback %s failed\n%s", what, "".join(traceback.format_exception(error)).rstrip())

    def listener_pressed(self, listener: Listener, what: str, why: str) -> None:
        """Say that a listener cannot take everybody."""
        self._logger.warning("listener %s %s: %s (said once an episode)", listener.name, what, why)

    def listener_failed(self, listener: Listener, error: OSError) -> None:
        """Say that a listener is closed because its socket failed."""
        self._logger.error("listener %s is closed: %s", listener.name, error)

    def not_drained(self, names: list[str], drain_s: float) -> None:
        """Say which connections did not end in time and are aborted."""
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        self._logger.warning("drain_s passed (%g s): aborting %d connections: %s", drain_s, len(names), shown)

    def _line(self, link: Link, level: int, message: str, *args: object) -> None:
        self._limited(link.scheduler.now_s, level, message, *args)

    def _limited(self, now_s: float, level: int, message: str, *args: object) -> None:
        if int(now_s) != self._second:
            self._second, self._lines = int(now_s), 0
            if self._suppressed:
                self._logger.warning("%d lines about connections were left out (log_lines_per_s)", self._suppressed)
                self._suppressed = 0
        self._lines += 1
        if self._lines > self._most_lines:
            self._suppressed += 1
        else:
            self._logger.log(level, message, *args)
