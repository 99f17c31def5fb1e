// The map: dots and density on a canvas, with zoom, lasso, hover, names of clusters, and a list linked to the dots.
// Positions are 0..SIDE on both axes, y upwards; one scale serves both axes. All text is set as text, never as HTML.
const SIDE = 65535;
const SHIFT = 9, CELLS = 128; // a grid of 128 × 128 cells finds the dot under the mouse
const REACH = 10, STILL = 4, REST_MS = 300; // pixels around the mouse; of a click; before rows of a window are asked for
const MAX_CORNERS = 64, MAX_LABELS = 15, LABEL_GAP = 6, MAX_ZOOM = 200, KEPT = 6;
const GREY = 255, BRIGHT = 1, LIT = 2, PINNED = 4; // GREY: a code; the others are flags

const lastViews = new Map(); // key of a map -> {x, y, zoom}: it survives that the page is laid out anew

// Sets of dots, fetched once by address

const fetched = new Map();

function fetchDots(url) {
  if (!fetched.has(url)) {
    const dots = fetch(url).then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error("gone")))).then(decode);
    fetched.set(url, dots);
    dots.catch(() => fetched.delete(url));
    if (fetched.size > KEPT) fetched.delete(fetched.keys().next().value);
  }
  return fetched.get(url);
}

function unpack(text, Type) {
  return new Type(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

function decode(sent) {
  const [x, y, row] = [unpack(sent.x, Uint16Array), unpack(sent.y, Uint16Array), unpack(sent.row, Uint32Array)];
  const starts = new Uint32Array(CELLS * CELLS + 1), order = new Uint32Array(x.length);
  const cell = (k) => (x[k] >> SHIFT) + (y[k] >> SHIFT) * CELLS;
  for (let k = 0; k < x.length; k++) starts[cell(k) + 1]++;
  for (let k = 0; k < CELLS * CELLS; k++) starts[k + 1] += starts[k];
  const next = starts.slice();
  for (let k = 0; k < x.length; k++) order[next[cell(k)]++] = k;
  return { x, y, row, words: sent.words, starts, order };
}

class MapView {
  constructor(root) {
    const find = (name) => root.querySelector(name);
    [this.host, this.plot, this.dots, this.marks] = [root.host ?? root, ...[".plot", ".dots", ".marks"].map(find)];
    [this.labels, this.tip, this.side, this.list] = [".labels", ".tip", ".side", ".list"].map(find);
    this.sets = []; // {x, y, row, words, starts, order, codes, flags}
    this.pointers = new Map();
    this.mode = "lasso";
    this.listen(root);
    this.resizing = new ResizeObserver(() => this.resize());
  }

  // From the server

  async update({ data, setTriggerValue, setStateValue }) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    Object.assign(this, { send: setTriggerValue, keep: setStateValue });
    this.resizing.observe(this.plot);
    const loaded = await Promise.all(data.sets.map((set) => fetchDots(set.url))).catch(() => null);
    if (turn !== this.turn) return; // a later update came first
    if (loaded === null) return this.showNotice("The dots could not be loaded. Reload the page.");
    const isOther = data.key !== this.data?.key;
    this.data = data;
    this.sets = data.sets.map((set, k) => ({
      ...loaded[k], codes: unpack(set.codes, Uint8Array), flags: unpack(set.flags, Uint8Array),
    }));
    this.shade = data.shade === this.shadeSource ? this.shade : this.paintShade(data.shade, data.colours.rest);
    this.shadeSource = data.shade;
    this.drawn = null;
    this.lasso = null;
    this.layers = this.sortLayers();
    this.dots.setAttribute("aria-label", data.alt);
    this.fillLabels();
    this.fillList();
    this.resize(isOther);
    this.plot.dataset.ready = data.stamp;
  }

  stop() {
    this.resizing.disconnect();
    clearTimeout(this.waiting);
  }

  sortLayers() {
    // [way of drawing][code] -> positions, so each sprite is made once: dim, bright, lit
    const ways = [new Map(), new Map(), new Map()];
    this.pinned = [];
    for (const { x, y, codes, flags } of this.sets)
      for (let k = 0; k < x.length; k++) {
        const way = flags[k] & LIT ? 2 : this.data.lit || !(flags[k] & BRIGHT) || codes[k] === GREY ? 0 : 1;
        const code = way === 0 && !(flags[k] & BRIGHT) ? GREY : codes[k];
        const places = ways[way].get(code) ?? ways[way].set(code, []).get(code);
        places.push(x[k], y[k]);
        if (flags[k] & PINNED) this.pinned.push(x[k], y[k]);
      }
    return ways.map((codes) => [...codes].sort(([a], [b]) => (b === GREY) - (a === GREY) || a - b));
  }

  paintShade(text, colour) {
    const shade = unpack(text, Uint8Array), cells = Math.sqrt(shade.length);
    const image = new ImageData(cells, cells), rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    for (let line = 0; line < cells; line++)
      for (let column = 0; column < cells; column++)
        image.data.set([...rgb, shade[line * cells + column] / 2], 4 * ((cells - 1 - line) * cells + column));
    const canvas = new OffscreenCanvas(cells, cells);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  // Places

  resize(whole = false) {
    if (!this.data) return;
    const width = this.plot.clientWidth, height = Math.round(Math.min(640, Math.max(320, 0.9 * width)));
    if (!whole && width === this.width && height === this.height && this.view) return this.redraw();
    const [left, right, low, high] = this.data.bounds;
    Object.assign(this, { width, height, fit: Math.min(width / (right - left), height / (high - low)) });
    this.plot.style.height = `${height}px`;
    this.list.style.maxHeight = `${height - 24}px`;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.dots, this.marks])
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    if (whole || !this.view) this.view = lastViews.get(this.data.key) ?? { x: (left + right) / 2, y: (low + high) / 2, zoom: 1 };
    this.redraw();
  }

  get scale() {
    return this.fit * this.view.zoom;
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.view.x) * this.scale, this.height / 2 - (y - this.view.y) * this.scale];
  }

  toMap(sx, sy) {
    return [this.view.x + (sx - this.width / 2) / this.scale, this.view.y - (sy - this.height / 2) / this.scale];
  }

  zoomAt(factor, sx = this.width / 2, sy = this.height / 2) {
    const [x, y] = this.toMap(sx, sy);
    const zoom = Math.min(MAX_ZOOM, Math.max(1, this.view.zoom * factor)), share = this.view.zoom / zoom;
    this.view = { x: x + (this.view.x - x) * share, y: y + (this.view.y - y) * share, zoom };
    this.moved();
  }

  moveBy(dx, dy) {
    this.view = { ...this.view, x: this.view.x - dx / this.scale, y: this.view.y + dy / this.scale };
    this.moved();
  }

  moved() {
    const [left, right, low, high] = this.data.bounds;
    this.view.x = Math.min(right, Math.max(left, this.view.x));
    this.view.y = Math.min(high, Math.max(low, this.view.y));
    if (this.view.zoom === 1) Object.assign(this.view, { x: (left + right) / 2, y: (low + high) / 2 });
    lastViews.set(this.data.key, { ...this.view });
    this.showTip(null);
    this.redraw();
    if (!this.data.partial) return;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.askForWindow(), REST_MS);
  }

  askForWindow() {
    const [[left, high], [right, low]] = [this.toMap(0, 0), this.toMap(this.width, this.height)];
    const clip = (value) => Math.round(Math.min(SIDE, Math.max(0, value)));
    const wanted = this.view.zoom > 1 ? [left, right, low, high].map(clip) : null;
    const asked = wanted && { map: this.data.key, frame: wanted };
    if (JSON.stringify(asked) === JSON.stringify(this.asked ?? null)) return;
    this.asked = asked;
    this.keep("window", asked);
  }

  // Drawing

  redraw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      this.drawDots();
      this.drawMarks();
      this.placeLabels();
    });
  }

  clear(canvas) {
    const pen = canvas.getContext("2d"), ratio = canvas.width / this.width;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    return pen;
  }

  drawDots() {
    const pen = this.clear(this.dots), { colours, palette, radius } = this.data;
    const [left, top] = this.toScreen(0, SIDE), side = SIDE * this.scale;
    pen.imageSmoothingEnabled = true;
    pen.drawImage(this.shade, left, top, side, side);
    const size = radius * Math.min(2.5, this.view.zoom ** 0.4);
    const looks = [[size - 0.3, this.data.lit ? 0.3 : 0.45], [size, 0.9], [size + 1.6, 1]];
    this.layers.forEach((codes, way) => {
      for (const [code, places] of codes)
        this.stamp(pen, places, code === GREY ? colours.rest : palette[code], ...looks[way], way === 2);
    });
    this.stamp(pen, this.pinned, colours.pinned, size + 2.2, 1, false, true);
  }

  stamp(pen, places, colour, radius, opacity, edged, isRing = false) {
    const ratio = this.dots.width / this.width, half = radius + 1.5, whole = Math.ceil(2 * half * ratio);
    const sprite = new OffscreenCanvas(whole, whole), draw = sprite.getContext("2d");
    draw.scale(ratio, ratio);
    draw.arc(half, half, radius, 0, 7);
    Object.assign(draw, { fillStyle: colour, strokeStyle: isRing ? colour : this.data.colours.highlight, lineWidth: isRing ? 2 : 1.5 });
    if (!isRing) draw.fill();
    if (isRing || edged) draw.stroke();
    pen.globalAlpha = opacity;
    for (let k = 0; k < places.length; k += 2) {
      const [sx, sy] = this.toScreen(places[k], places[k + 1]);
      if (sx > -half && sy > -half && sx < this.width + half && sy < this.height + half)
        pen.drawImage(sprite, sx - half, sy - half, whole / ratio, whole / ratio);
    }
    pen.globalAlpha = 1;
  }

  colour(name) {
    return getComputedStyle(this.host).getPropertyValue(name).trim() || "#808080";
  }

  drawMarks() {
    const pen = this.clear(this.marks), { colours, outline, open } = this.data;
    Object.assign(pen, { strokeStyle: colours.highlight, lineWidth: 2, lineJoin: "round" });
    pen.setLineDash([5, 4]);
    const path = this.lasso ?? outline?.[0].map((x, k) => [x, outline[1][k]]);
    if (path?.length) {
      pen.beginPath();
      for (const [x, y] of path) pen.lineTo(...this.toScreen(x, y));
      if (!this.lasso) pen.closePath();
      pen.stroke();
    }
    pen.setLineDash([]);
    for (const [mark, radius, width] of [[open, 9, 3], [this.hovered, 7, 2]])
      if (mark) {
        pen.beginPath();
        pen.arc(...this.toScreen(mark.x, mark.y), radius, 0, 7);
        Object.assign(pen, { strokeStyle: this.colour("--st-background-color"), lineWidth: width + 3 });
        pen.stroke();
        Object.assign(pen, { strokeStyle: this.colour("--st-text-color"), lineWidth: width });
        pen.stroke();
      }
  }

  fillLabels() {
    const now = JSON.stringify(this.data.labels);
    if (now === this.labelled) return;
    this.labelled = now;
    this.labels.replaceChildren(...this.data.labels.map((label) => {
      const button = document.createElement("button");
      button.textContent = label.text;
      button.title = label.title;
      button.onclick = () => this.send("cluster", { number: label.cluster });
      return button;
    }));
  }

  placeLabels() {
    // Largest clusters first; a label that would cover another, or the tools, is left out.
    const tools = this.plot.querySelector(".tools"), taken = [];
    taken.push([this.width - tools.offsetWidth - 4, 0, this.width, tools.offsetHeight + 2]);
    [...this.labels.children].forEach((button, k) => {
      const { x, y } = this.data.labels[k], [sx, sy] = this.toScreen(x, y);
      button.style.display = "";
      const wide = button.offsetWidth, high = button.offsetHeight;
      const left = Math.min(this.width - wide, Math.max(0, sx - wide / 2)), top = sy - high - LABEL_GAP;
      const inside = sx >= 0 && sx <= this.width && top >= 0 && top + high <= this.height;
      const box = [left, top, left + wide, top + high];
      const covers = taken.some(([a, b, c, d]) => box[0] < c && a < box[2] && box[1] < d && b < box[3]);
      if (!inside || covers || taken.length > MAX_LABELS) return (button.style.display = "none");
      taken.push(box);
      button.style.transform = `translate(${left}px, ${top}px)`;
    });
  }

  // The list

  fillList() {
    const { listed, heading } = this.data;
    this.side.hidden = !listed.length;
    this.side.querySelector(".heading").textContent = heading;
    this.list.replaceChildren(...listed.map((item) => {
      const button = document.createElement("button");
      button.textContent = item.words;
      button.onmouseenter = button.onfocus = () => this.hover(item, false);
      button.onmouseleave = button.onblur = () => this.hover(null, false);
      button.onclick = () => this.send("open", { row: item.row });
      return button;
    }));
  }

  markInList(row) {
    this.data.listed.forEach((item, k) => {
      const button = this.list.children[k], isHovered = item.row === row;
      button.classList.toggle("on", isHovered || item.row === this.data.open?.row);
      if (isHovered && (button.offsetTop < this.list.scrollTop || button.offsetTop + button.offsetHeight > this.list.scrollTop + this.list.clientHeight))
        this.list.scrollTop = button.offsetTop - this.list.clientHeight / 2;
    });
  }

  hover(mark, showsTip = true) {
    this.hovered = mark;
    this.drawMarks();
    this.showTip(showsTip ? mark : null);
    if (showsTip) this.markInList(mark?.row);
  }

  showTip(mark) {
    this.tip.hidden = !mark;
    if (!mark) return;
    const name = document.createElement("small");
    name.textContent = mark.name ?? "";
    this.tip.replaceChildren(document.createTextNode(mark.words), ...(mark.name ? [name] : []));
    const [sx, sy] = this.toScreen(mark.x, mark.y), { offsetWidth: wide, offsetHeight: high } = this.tip;
    const left = sx + 14 + wide > this.width ? Math.max(0, sx - 14 - wide) : sx + 14;
    this.tip.style.transform = `translate(${left}px, ${Math.min(this.height - high, Math.max(0, sy - high / 2))}px)`;
  }

  showNotice(text) {
    this.tip.hidden = false;
    this.tip.textContent = text;
  }

  findDot(sx, sy) {
    // The nearest dot within REACH pixels; a highlighted dot comes before any other.
    const [mx, my] = this.toMap(sx, sy), reach = REACH / this.scale;
    const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value) >> SHIFT));
    let best = null, least = Infinity;
    for (const set of this.sets)
      for (let line = cell(my - reach); line <= cell(my + reach); line++)
        for (let column = cell(mx - reach); column <= cell(mx + reach); column++) {
          const at = line * CELLS + column;
          for (let place = set.starts[at]; place < set.starts[at + 1]; place++) {
            const k = set.order[place], apart = (set.x[k] - mx) ** 2 + (set.y[k] - my) ** 2;
            const cost = apart + (this.data.lit && !(set.flags[k] & LIT) ? reach ** 2 : 0);
            if (apart <= reach ** 2 && cost < least) [best, least] = [[set, k], cost];
          }
        }
    if (!best) return null;
    const [set, k] = best;
    return { row: set.row[k], x: set.x[k], y: set.y[k], words: set.words[k], name: this.data.names?.[set.codes[k]] };
  }

  // Gestures: dragging draws a lasso or moves the map, a click opens a row, wheel and two fingers zoom

  listen(root) {
    const at = (event) => {
      const box = this.dots.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    this.dots.onpointerdown = (event) => {
      this.dots.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, at(event));
      this.start = this.pointers.size === 1 ? at(event) : null;
      this.drawn = this.start && this.mode === "lasso" ? [this.start] : null;
    };
    this.dots.onpointermove = (event) => {
      if (!this.data) return;
      if (this.pointers.has(event.pointerId)) this.drag(event.pointerId, at(event));
      else this.hover(this.findDot(...at(event)));
    };
    this.dots.onpointerup = (event) => {
      const was = this.pointers.get(event.pointerId);
      this.pointers.delete(event.pointerId);
      if (!was || !this.start || !this.data) return;
      const [dx, dy] = at(event).map((value, k) => value - this.start[k]), isClick = Math.hypot(dx, dy) < STILL;
      if (isClick && !(this.drawn?.length > 3)) this.click(...at(event));
      else if (this.drawn) this.finishLasso();
      this.drawn = null;
    };
    this.dots.onpointercancel = (event) => {
      this.pointers.delete(event.pointerId);
      this.drawn = this.lasso = null;
      if (this.data) this.drawMarks();
    };
    this.dots.onpointerleave = () => this.data && !this.pointers.size && this.hover(null);
    this.dots.addEventListener("wheel", (event) => {
      if (!this.data) return;
      event.preventDefault();
      this.zoomAt(Math.exp(-0.002 * event.deltaY), ...at(event));
    }, { passive: false });
    const actions = {
      in: () => this.zoomAt(1.6), out: () => this.zoomAt(1 / 1.6), whole: () => this.zoomAt(1 / MAX_ZOOM),
      lasso: () => this.setMode("lasso"), move: () => this.setMode("move"),
    };
    for (const button of root.querySelectorAll(".tools button")) button.onclick = () => this.data && actions[button.dataset.do]();
    const keys = {
      "+": actions.in, "=": actions.in, "-": actions.out, 0: actions.whole,
      ArrowLeft: () => this.moveBy(60, 0), ArrowRight: () => this.moveBy(-60, 0),
      ArrowUp: () => this.moveBy(0, 60), ArrowDown: () => this.moveBy(0, -60),
    };
    this.dots.onkeydown = (event) => {
      if (!this.data || !(event.key in keys) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      keys[event.key]();
    };
  }

  setMode(mode) {
    this.mode = mode;
    this.plot.classList.toggle("moving", mode === "move");
    for (const name of ["lasso", "move"])
      this.plot.querySelector(`[data-do=${name}]`).setAttribute("aria-pressed", String(name === mode));
  }

  drag(pointer, [sx, sy]) {
    const [ox, oy] = this.pointers.get(pointer);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== pointer).map(([, place]) => place);
      const apart = ([x, y]) => Math.max(1, Math.hypot(x - other[0], y - other[1]));
      this.lasso = null;
      this.zoomAt(apart([sx, sy]) / apart([ox, oy]), (sx + other[0]) / 2, (sy + other[1]) / 2);
    } else if (this.drawn) {
      this.drawn.push([sx, sy]);
      this.lasso = this.drawn.map((place) => this.toMap(...place));
      this.showTip(null);
      this.drawMarks();
    } else if (this.mode === "move") this.moveBy(sx - ox, sy - oy);
    this.pointers.set(pointer, [sx, sy]);
  }

  click(sx, sy) {
    this.lasso = null;
    const dot = this.findDot(sx, sy);
    this.drawMarks();
    if (dot) this.send("open", { row: dot.row });
  }

  finishLasso() {
    const step = Math.max(1, Math.ceil(this.drawn.length / MAX_CORNERS));
    const corners = this.drawn.filter((_, k) => k % step === 0).map((place) => this.toMap(...place).map(Math.round));
    this.lasso = [...corners, corners[0]];
    this.drawMarks();
    if (corners.length > 2) this.send("lasso", { x: corners.map(([x]) => x), y: corners.map(([, y]) => y) });
  }
}

const views = new WeakMap();

export default function (component) {
  const root = component.parentElement;
  if (!views.has(root)) views.set(root, new MapView(root));
  views.get(root).update(component);
  return () => views.get(root)?.stop();
}
