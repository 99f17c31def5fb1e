"""Limit of concurrent requests to a server, sized by what the server makes of them.

It begins small and doubles while this gives at least GAIN times as many replies a second; a doubling that does not is
taken back. A server that is too busy halves it. After either it is tried again, some hundred replies later, as load
changes. No reply depends on it.
"""

from threading import Lock

START = 4
GAIN = 1.1
WINDOW = 16  # replies that a rate is measured over, at least; twice the limit where that is more
PATIENCE = 256  # replies after which a limit that was lowered is tried again


class RequestLimit:
    """The number of requests that may be open at the same time, between 1 and `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.current = min(START, most)
        self.changes = 0  # how often it has changed
        self._lock = Lock()
        self._rate = 0.0  # replies a second at half the limit; 0: not known, so doubling needs no reason
        self._window, self._count, self._seconds = WINDOW, 0, 0.0  # replies to count, and those counted so far
        self._old = 0  # replies to come that are not counted: of requests sent at another limit

    def replied(self, count: int, seconds: float) -> None:
        """Count replies that arrived within these seconds, while as many requests were open as may be."""
        with self._lock:
            if self._old > 0:
                self._old -= count
                return
            self._count, self._seconds = self._count + count, self._seconds + seconds
            if self._count < self._window:
                return
            rate = self._count / max(self._seconds, 1e-9)
            grows = rate >= GAIN * self._rate
            self._rate = rate if grows and self.current < self.most else 0.0
            current = min(2 * self.current, self.most) if grows else max(1, self.current // 2)
            self._change(current, max(WINDOW, 2 * current) if grows else PATIENCE)

    def rejected(self, changes: int) -> None:
        """Halve the limit for a request that found the server too busy; once for all that began before it `changes`."""
        with self._lock:
            if changes == self.changes:
                self._rate = 0.0
                self._change(max(1, self.current // 2), PATIENCE)

    def _change(self, current: int, window: int) -> None:
        """Set the limit, and count so many replies at it."""
        self.current, self.changes, self._old = current, self.changes + 1, current
        self._window, self._count, self._seconds = window, 0, 0.0
