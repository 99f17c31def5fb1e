// Dots as pixels: 50,000 of them take a few milliseconds, where shapes or copies of a sprite take a hundred times that.
const SUPERSAMPLING = 2; // pixels of the picture per pixel of the page, at least: the browser smooths the edges

class Picture {
  constructor(wide, high) {
    this.image = new ImageData(wide, high);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.canvas = new OffscreenCanvas(wide, high);
  }

  clear() {
    this.pixels.fill(0);
  }

  // Paint a disc at each of `places` (x, y, x, y ... on the map), or a ring around a hole; later dots are above.
  paint(places, { left, top, scale }, colour, opacity, radius, hole = 0) {
    const { width, height } = this.image, reach = Math.ceil(radius), columns = [], lines = [];
    for (let line = -reach; line <= reach; line++)
      for (let column = -reach; column <= reach; column++) {
        const apart = column * column + line * line;
        if (apart <= radius * radius && apart >= hole * hole) columns.push(column) && lines.push(line);
      }
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const value = ((Math.round(255 * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    for (let k = 0; k < places.length; k += 2) {
      const x = Math.round(left + places[k] * scale), y = Math.round(top - places[k + 1] * scale);
      if (x < -reach || y < -reach || x >= width + reach || y >= height + reach) continue;
      for (let part = 0; part < columns.length; part++) {
        const px = x + columns[part], py = y + lines[part];
        if (px >= 0 && py >= 0 && px < width && py < height) this.pixels[py * width + px] = value;
      }
    }
  }

  drawOn(pen, width, height) {
    this.canvas.getContext("2d").putImageData(this.image, 0, 0);
    pen.drawImage(this.canvas, 0, 0, width, height);
  }
}
