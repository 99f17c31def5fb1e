"""When the app is idle: runs have ended, nothing is fetched any more, the page stays as it is, and keys are heard."""

import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from playwright.sync_api import Browser, BrowserContext, Page, Request, WebSocket
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

SETTLED_MS = 250  # without a request after the last run: the slider of Streamlit waits 200 before it sends one
POLL_MS = 30
WATCH = """new MutationObserver(() => { window.changed = performance.now(); })
    .observe(document, { childList: true, subtree: true });
addEventListener("keydown", () => { window.hearsKeys = true; }, { capture: true, once: true });"""
IDLE = f"""() => performance.now() - (window.changed ?? 0) > {SETTLED_MS}
    && document.querySelector("[data-testid=stApp][data-test-script-state=notRunning]")
    && (document.body.dataset.keys || !document.querySelector(".st-key-keys"))"""
MAX_WAIT_S = 60


class Traffic:
    """What a page and the app have told each other."""

    def __init__(self, page: Page) -> None:
        self.waiting = True  # for the end of a run
        self.fetched: set[Request] = set()  # and not here yet
        page.on("websocket", self._connect)
        page.on("request", lambda request: self.fetched.add(request))
        page.on("requestfinished", lambda request: self.fetched.discard(request))
        page.on("requestfailed", lambda request: self.fetched.discard(request))

    def _connect(self, socket: WebSocket) -> None:
        self.waiting = True
        socket.on("framesent", self._sent)
        socket.on("framereceived", self._received)

    def _sent(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes) and BackMsg.FromString(frame).WhichOneof("type") == "rerun_script":
            self.waiting = True

    def _received(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            message = ForwardMsg.FromString(frame)
            if message.WhichOneof("type") == "script_finished":
                self.waiting = message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN


_traffic: WeakKeyDictionary[Page, Traffic] = WeakKeyDictionary()


def new_context(browser: Browser, **options: object) -> BrowserContext:
    """Open a context, 1280 × 900 unless told otherwise, whose pages can be waited for."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_default_timeout(60_000)
    context.add_init_script(WATCH)
    context.on("page", lambda page: _traffic.setdefault(page, Traffic(page)))
    return context


def wait_until_idle(page: Page) -> None:
    """Wait until the app has drawn something and has answered every request, without an exception."""
    page.wait_for_selector("[data-testid=stMain] [data-testid=stElementContainer]", state="attached")
    began = time.monotonic()
    calm = 0  # looks in a row at which nothing went on: a page that is busy answers one of them late
    while calm * POLL_MS < SETTLED_MS:
        assert time.monotonic() - began < MAX_WAIT_S, "the app did not become idle"
        page.wait_for_timeout(POLL_MS)
        calm = 0 if _traffic[page].waiting or _traffic[page].fetched or not page.evaluate(IDLE) else calm + 1
        if calm and not page.evaluate("window.hearsKeys"):
            page.keyboard.press("Shift")
            calm = 0
    assert page.get_by_test_id("stException").count() == 0


def wait_until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait until something holds that no locator can tell, such as what a canvas shows."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < MAX_WAIT_S / 4, "it does not hold"
        page.wait_for_timeout(POLL_MS)
