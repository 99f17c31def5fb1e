// Sets of dots: fetched once by address, sorted into layers to draw, and searched for the dot under the mouse.
const SHIFT = 9, CELLS = 128; // a grid of 128 × 128 cells finds the dot under the mouse
const KEPT = 6; // sets in memory
const GREY = 255, BRIGHT = 1, LIT = 2, PINNED = 4; // GREY: a code; the others are flags

const fetched = new Map();

function fetchDots(url) {
  if (!fetched.has(url)) {
    const read = (answer) => (answer.ok ? answer.json() : Promise.reject(new Error("gone")));
    const dots = fetch(url).then(read).then(decode);
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

// [way of drawing: dim, bright, lit][code] -> positions, so each sprite is made once; and the positions of pinned rows
function sortDots(sets, isLit) {
  const ways = [new Map(), new Map(), new Map()], pinned = [];
  for (const { x, y, codes, flags } of sets)
    for (let k = 0; k < x.length; k++) {
      const way = flags[k] & LIT ? 2 : isLit || !(flags[k] & BRIGHT) || codes[k] === GREY ? 0 : 1;
      const code = way === 0 && !(flags[k] & BRIGHT) ? GREY : codes[k];
      const places = ways[way].get(code) ?? ways[way].set(code, []).get(code);
      places.push(x[k], y[k]);
      if (flags[k] & PINNED) pinned.push(x[k], y[k]);
    }
  return [ways.map((codes) => [...codes].sort(([a], [b]) => (b === GREY) - (a === GREY) || a - b)), pinned];
}

// The set and the place in it of the dot nearest to (mx, my) within reach, or null; a highlighted dot comes first.
function findNearest(sets, mx, my, reach, isLit) {
  const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value) >> SHIFT));
  let best = null, least = Infinity;
  for (const set of sets)
    for (let line = cell(my - reach); line <= cell(my + reach); line++)
      for (let column = cell(mx - reach); column <= cell(mx + reach); column++) {
        const at = line * CELLS + column;
        for (let place = set.starts[at]; place < set.starts[at + 1]; place++) {
          const k = set.order[place], apart = (set.x[k] - mx) ** 2 + (set.y[k] - my) ** 2;
          const cost = apart + (isLit && !(set.flags[k] & LIT) ? reach ** 2 : 0);
          if (apart <= reach ** 2 && cost < least) [best, least] = [[set, k], cost];
        }
      }
  return best;
}
