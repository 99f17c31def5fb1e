// Gestures: dragging draws a lasso or moves the map, a click opens a row, wheel and two fingers zoom, and so do keys.
const STILL = 4; // pixels of a click
const MAX_CORNERS = 64; // of a lasso
const MAX_ZOOM = 200;

class Gestures {
  constructor(view, root) {
    Object.assign(this, { view, mode: "lasso", pointers: new Map(), start: null, drawn: null });
    const at = (event) => {
      const box = view.dots.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    view.dots.onpointerdown = (event) => {
      view.dots.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      this.start = this.pointers.size === 1 ? at(event) : null;
      this.drawn = this.start && this.mode === "lasso" ? [this.start] : null;
    };
    view.dots.onpointermove = (event) => {
      if (!view.data) return;
      if (this.pointers.has(event.pointerId)) this.drag(event.pointerId, at(event));
      else view.hover(view.findDot(...at(event)));
    };
    view.dots.onpointerup = (event) => {
      const was = this.pointers.get(event.pointerId);
      this.pointers.delete(event.pointerId);
      if (!was || !this.start || !view.data) return;
      const [dx, dy] = at(event).map((value, k) => value - this.start[k]), isClick = Math.hypot(dx, dy) < STILL;
      if (isClick && !(this.drawn?.length > 3)) this.click(...at(event));
      else if (this.drawn) this.finishLasso();
      this.drawn = null;
    };
    view.dots.onpointercancel = (event) => {
      this.pointers.delete(event.pointerId);
      this.drawn = view.lasso = null;
      if (view.data) view.drawMarks();
    };
    view.dots.onpointerleave = () => view.data && !this.pointers.size && view.hover(null);
    view.dots.addEventListener("wheel", (event) => {
      if (!view.data) return;
      event.preventDefault();
      view.zoomAt(Math.exp(-0.002 * event.deltaY), ...at(event));
    }, { passive: false });
    const actions = {
      in: () => view.zoomAt(1.6), out: () => view.zoomAt(1 / 1.6), whole: () => view.zoomAt(1 / MAX_ZOOM),
      lasso: () => this.setMode("lasso"), move: () => this.setMode("move"),
    };
    for (const button of root.querySelectorAll(".tools button"))
      button.onclick = () => view.data && actions[button.dataset.do]();
    const keys = {
      "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.whole,
      ArrowLeft: () => view.moveBy(60, 0), ArrowRight: () => view.moveBy(-60, 0),
      ArrowUp: () => view.moveBy(0, 60), ArrowDown: () => view.moveBy(0, -60),
    };
    view.dots.onkeydown = (event) => {
      if (!view.data || !(event.key in keys) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    };
  }

  setMode(mode) {
    const { view } = this;
    this.mode = mode;
    view.plot.classList.toggle("moving", mode === "move");
    for (const name of ["lasso", "move"])
      view.plot.querySelector(`[data-do=${name}]`).setAttribute("aria-pressed", String(name === mode));
  }

  drag(pointer, [sx, sy]) {
    const { view } = this;
    const [ox, oy] = this.pointers.get(pointer);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== pointer).map(([, place]) => place);
      const apart = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
      view.lasso = null;
      view.zoomAt(apart([sx, sy]) / apart([ox, oy]), (sx + other[0]) / 2, (sy + other[1]) / 2);
    } else if (this.drawn) {
      this.drawn.push([sx, sy]);
      view.lasso = this.drawn.map((place) => view.toMap(...place));
      view.showTip(null);
      view.drawMarks();
    } else if (this.mode === "move") view.moveBy(sx - ox, sy - oy);
    this.pointers.set(pointer, [sx, sy]);
  }

  click(sx, sy) {
    const { view } = this;
    view.lasso = null;
    const dot = view.findDot(sx, sy);
    view.drawMarks();
    if (dot) view.send("open", { row: dot.row });
  }

  finishLasso() {
    const { view } = this;
    const step = Math.max(1, Math.ceil(this.drawn.length / MAX_CORNERS));
    const corners = this.drawn.filter((_, k) => k % step === 0).map((place) => view.toMap(...place).map(Math.round));
    view.lasso = [...corners, corners[0]];
    view.drawMarks();
    if (corners.length > 2) view.send("lasso", { x: corners.map(([x]) => x), y: corners.map(([, y]) => y) });
  }
}
