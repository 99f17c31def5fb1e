// The map: dots and density on a canvas, with zoom, lasso, hover, names of clusters, and a list linked to the dots.
// Positions are 0..SIDE on both axes, y upwards; one scale serves both axes. All text is set as text, never as HTML.
const SIDE = 65535;
const REACH = 10; // pixels around the mouse in which a dot is found
const REST_MS = 300; // after a zoom, before the rows of the window are asked for
const FEW_LIT = 1000; // highlighted dots that are drawn larger; more would hide each other
const MAX_LABELS = 15, LABEL_GAP = 6;

const lastViews = new Map(); // key of a map -> {x, y, zoom}: it survives that the page is laid out anew

class MapView {
  constructor(root) {
    const find = (name) => root.querySelector(name);
    [this.host, this.plot, this.dots, this.marks] = [root.host ?? root, ...[".plot", ".dots", ".marks"].map(find)];
    [this.labels, this.tip, this.side, this.list] = [".labels", ".tip", ".side", ".list"].map(find);
    this.sets = []; // {x, y, row, words, starts, order, codes, flags}
    this.gestures = new Gestures(this, root);
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
    if (!this.gestures.drawn) this.lasso = null;
    [this.layers, this.pinned] = sortDots(this.sets, data.lit);
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
    const ratio = Math.max(window.devicePixelRatio || 1, SUPERSAMPLING);
    this.picture = new Picture(Math.round(width * ratio), Math.round(height * ratio));
    for (const canvas of [this.dots, this.marks])
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const middle = { x: (left + right) / 2, y: (low + high) / 2, zoom: 1 };
    if (whole || !this.view) this.view = lastViews.get(this.data.key) ?? middle;
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
    const { picture } = this, at = picture.image.width / this.width;
    const frame = { left: at * this.toScreen(0, 0)[0], top: at * this.toScreen(0, 0)[1], scale: at * this.scale };
    const [dim, bright, lit] = this.layers.map((codes) =>
      codes.map(([code, places]) => [places, code === GREY ? colours.rest : palette[code]]));
    const isFew = lit.reduce((sum, [places]) => sum + places.length / 2, 0) <= FEW_LIT;
    const grown = size + (isFew ? 1.3 : 0);
    picture.clear();
    for (const [places, own] of dim) picture.paint(places, frame, own, this.data.lit ? 0.3 : 0.45, at * (size - 0.3));
    for (const [places, own] of bright) picture.paint(places, frame, own, 0.9, at * size);
    for (const [places] of lit) picture.paint(places, frame, colours.highlight, 1, at * (grown + (isFew ? 1.5 : 1)));
    for (const [places, own] of lit) picture.paint(places, frame, own, 1, at * grown);
    picture.paint(this.pinned, frame, colours.pinned, 1, at * (size + 3), at * (size + 1.2));
    picture.drawOn(pen, this.width, this.height);
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
      const { scrollTop, clientHeight } = this.list, top = button.offsetTop - this.list.offsetTop;
      if (isHovered && (top < scrollTop || top + button.offsetHeight > scrollTop + clientHeight))
        this.list.scrollTop = top - clientHeight / 2;
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
    const best = findNearest(this.sets, ...this.toMap(sx, sy), REACH / this.scale, this.data.lit);
    if (!best) return null;
    const [set, k] = best;
    return { row: set.row[k], x: set.x[k], y: set.y[k], words: set.words[k], name: this.data.names?.[set.codes[k]] };
  }
}

const views = new WeakMap();

export default function (component) {
  const root = component.parentElement;
  if (!views.has(root)) views.set(root, new MapView(root));
  views.get(root).update(component);
  return () => views.get(root)?.stop();
}
