"""Script that keeps what was clicked where it is on the screen, while the page around it is drawn again.

The reader halves the width of the page when it opens, so everything above a table grows; without this a click on a row
would move the row out of sight. It ends when the visitor scrolls or presses a key. On a phone the reader stands above
the page and must be seen, so the page moves there.
"""

KEEP_PLACE = """
const PATIENCE = 5000;  // ms in which a page is drawn again
const NARROW = 640;  // px

function keepPlace() {
    let timer;
    const stop = () => clearInterval(timer);
    const hold = (event) => {
        stop();
        const main = event.target.closest?.("[data-testid=stMain]");
        const element = main && event.target.closest("[class*='st-key-']");
        if (!element || element.closest(".st-key-bar, .st-key-dock") || window.innerWidth <= NARROW) return;
        const name = [...element.classList].find((one) => one.startsWith("st-key-"));
        const top = element.getBoundingClientRect().top, until = Date.now() + PATIENCE;
        timer = setInterval(() => {
            const now = document.getElementsByClassName(name)[0];
            const moved = now ? now.getBoundingClientRect().top - top : 0;
            if (Math.abs(moved) > 1) main.scrollTop += moved;
            if (Date.now() > until) stop();
        }, 50);
    };
    const events = { pointerdown: hold, wheel: stop, touchmove: stop, keydown: stop };
    for (const [name, act] of Object.entries(events)) document.addEventListener(name, act, true);
    return () => {
        stop();
        for (const [name, act] of Object.entries(events)) document.removeEventListener(name, act, true);
    };
}
"""
