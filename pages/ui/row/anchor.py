"""Scripts that keep what was clicked where it is on the screen, and the reader below the bar, however high that is.

The reader halves the width of the page when it opens, so everything above a table grows; without this a click on a row
would move the row out of sight. On a phone the reader stands above the page, and comes into view instead. Both end when
the page is scrolled or a key is pressed.
"""

BAR_HEIGHT = "--bar-height"  # set by the script; the stylesheet of workbench.layout reads it

TELL_BAR_HEIGHT = """
function tellBarHeight() {
    const tell = () => {
        const bar = document.querySelector(".st-key-bar");
        if (bar) document.body.style.setProperty("NAME", `${bar.offsetHeight}px`);
        else document.body.style.removeProperty("NAME");
    };
    const watch = new ResizeObserver(tell);  // the page grows and shrinks with its bar
    watch.observe(document.querySelector(".stMainBlockContainer"));
    return () => watch.disconnect();
}
""".replace("NAME", BAR_HEIGHT)

KEEP_PLACE = """
const PATIENCE = 5000;  // ms in which a page is drawn again
const NARROW = 640;  // px

function keepPlace() {
    let timer;
    const stop = () => clearInterval(timer);
    const repeat = (act) => {
        const until = Date.now() + PATIENCE;
        timer = setInterval(() => (Date.now() > until ? stop() : act()), 50);
    };
    const hold = (event) => {
        stop();
        const main = event.target.closest?.("[data-testid=stMain]");
        const element = main && event.target.closest("[class*='st-key-']");
        if (!element || element.closest(".st-key-bar, .st-key-dock")) return;
        if (window.innerWidth <= NARROW) return showReader();
        const name = [...element.classList].find((one) => one.startsWith("st-key-"));
        const top = element.getBoundingClientRect().top;
        let place = top + main.scrollTop;  // in the page
        repeat(() => {
            const now = document.getElementsByClassName(name)[0];
            const newTop = now?.getBoundingClientRect().top;
            const stays = now && Math.abs(newTop + main.scrollTop - place) < 0.5;
            if (stays && Math.abs(newTop - top) > 1) return stop();  // the page was scrolled
            if (now && !stays) main.scrollTop += newTop - top;
            place = now && now.getBoundingClientRect().top + main.scrollTop;
        });
    };
    const showReader = () => {
        const openRow = () => new URLSearchParams(window.location.search).get("row");
        const before = openRow();
        repeat(() => {
            const dock = document.querySelector(".st-key-dock");
            if (!dock || openRow() === before) return;
            dock.style.scrollMarginTop = "4rem";  // below Streamlit's header
            dock.scrollIntoView();
            stop();
        });
    };
    const events = { pointerdown: hold, wheel: stop, touchmove: stop, keydown: stop };
    for (const [name, act] of Object.entries(events)) document.addEventListener(name, act, true);
    return () => {
        stop();
        for (const [name, act] of Object.entries(events)) document.removeEventListener(name, act, true);
    };
}
"""
