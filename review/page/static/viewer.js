// Draws an image and its map on a canvas: zoom to single pixels, window and level, opacity, magnifier; mouse and touch.
const MOST_ZOOM = 64;
const LENS = 150, LENS_ZOOM = 3;

// One page of an image, as the server rendered it.
export class Picture {
  constructor(seal, page, hasMap) {
    Object.assign(this, { seal, page, hasMap, bitmap: null, map: null, window: null, auto: null, bits: 8 });
    this.ready = this.load(null);
    this.mapReady = hasMap ? fetch(`/map/${seal}/${page}`).then(async (answer) => {
      if (answer.ok) this.map = await createImageBitmap(await answer.blob());
    }).catch(() => {}) : Promise.resolve();
  }

  async load(window) {
    const query = window ? `?low=${window[0]}&high=${window[1]}` : "";
    const answer = await fetch(`/picture/${this.seal}/${this.page}${query}`);
    if (!answer.ok) throw new Error(await answer.text());
    const [low, high, bits] = answer.headers.get("x-window").split(" ").map(Number);
    this.bitmap = await createImageBitmap(await answer.blob());
    this.window = [low, high];
    this.auto = this.auto || [low, high];
    this.bits = bits;
  }
}

export class Viewer {
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed, picture: null, zoom: 0, x: 0, y: 0, showMap: true, opacity: 0.45, lens: false });
    this.context = canvas.getContext("2d");
    this.pointers = new Map();
    this.mouse = null;
    new ResizeObserver(() => this.fit()).observe(canvas);
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(this.at(event), Math.exp(-event.deltaY / 400));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.at(event));
    });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("pointerleave", () => { this.mouse = null; if (this.lens) this.draw(); });
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  // One finger or button moves a picture that is zoomed, two fingers zoom; the right button, or Shift, is window and level.
  move(event) {
    const now = this.at(event), before = this.pointers.get(event.pointerId);
    this.mouse = now;
    if (!before) { if (this.lens) this.draw(); return; }
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const far = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      this.zoomAt(other, far(now) / far(before));
    } else if (event.shiftKey || event.buttons & 2 || !this.isZoomed()) {
      this.level(dx / this.canvas.width, -dy / this.canvas.height);
    } else {
      this.x += dx; this.y += dy; this.draw();
    }
    this.pointers.set(event.pointerId, now);
  }

  isZoomed() { return this.zoom > this.fitting() * 1.01; }

  fitting() {
    const bitmap = this.picture?.bitmap;
    return bitmap ? Math.min(this.canvas.width / bitmap.width, this.canvas.height / bitmap.height) : 1;
  }

  show(picture) {
    const same = this.picture?.bitmap && picture.bitmap && this.picture.bitmap.width === picture.bitmap.width
      && this.picture.bitmap.height === picture.bitmap.height && this.picture.seal === picture.seal;
    this.picture = picture;
    if (same) this.draw(); else this.fit();
    picture.mapReady.then(() => { if (this.picture === picture) this.draw(); });
  }

  fit() {
    const box = this.canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(box.width * scale));
    this.canvas.height = Math.max(1, Math.round(box.height * scale));
    const bitmap = this.picture?.bitmap;
    if (!bitmap) return;
    this.zoom = this.fitting();
    this.x = (this.canvas.width - bitmap.width * this.zoom) / 2;
    this.y = (this.canvas.height - bitmap.height * this.zoom) / 2;
    this.draw();
  }

  zoomAt([x, y], factor) {
    const zoom = Math.min(MOST_ZOOM, Math.max(this.fitting() / 2, this.zoom * factor));
    this.x = x - (x - this.x) * zoom / this.zoom;
    this.y = y - (y - this.y) * zoom / this.zoom;
    this.zoom = zoom;
    this.draw();
  }

  zoomBy(factor) { this.zoomAt([this.canvas.width / 2, this.canvas.height / 2], factor); }

  // Contrast and brightness, as shares of the window; the server renders from the full depth, one request at a time.
  level(contrast, brightness) {
    const picture = this.picture;
    if (!picture?.window) return;
    const [low, high] = this.wanted || picture.window;
    const width = Math.min(4, Math.max(0.002, (high - low) * Math.exp(-contrast * 2)));
    const middle = (low + high) / 2 - brightness * (high - low);
    this.wanted = [Math.max(-3.9, middle - width / 2), Math.min(3.9, middle + width / 2)];
    this.render(picture);
  }

  async render(picture) {
    if (this.rendering) return;
    this.rendering = true;
    while (this.wanted && picture === this.picture) {
      const wanted = this.wanted;
      this.wanted = null;
      try { await picture.load(wanted); } catch { break; }
      if (picture === this.picture) this.draw();
    }
    this.wanted = null;
    this.rendering = false;
  }

  reset() {
    this.fit();
    if (this.picture?.auto) { this.wanted = this.picture.auto; this.render(this.picture); }
  }

  draw() {
    const { context, canvas, picture } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!picture?.bitmap) return;
    this.paint(this.zoom, this.x, this.y);
    if (this.lens && this.mouse) {
      const [x, y] = this.mouse, zoom = this.zoom * LENS_ZOOM;
      context.save();
      context.beginPath();
      context.arc(x, y, LENS, 0, 2 * Math.PI);
      context.clip();
      context.fillRect(x - LENS, y - LENS, 2 * LENS, 2 * LENS);
      this.paint(zoom, x - (x - this.x) * LENS_ZOOM, y - (y - this.y) * LENS_ZOOM);
      context.restore();
      context.strokeStyle = "#fff";
      context.lineWidth = 2;
      context.stroke();
    }
    this.changed(this);
  }

  paint(zoom, x, y) {
    const { context, picture } = this, { bitmap, map } = picture;
    context.imageSmoothingEnabled = zoom < 2;
    context.drawImage(bitmap, x, y, bitmap.width * zoom, bitmap.height * zoom);
    if (!map || !this.showMap) return;
    context.save();
    context.imageSmoothingEnabled = true;
    context.globalAlpha = this.opacity;
    context.drawImage(map, x, y, bitmap.width * zoom, bitmap.height * zoom);
    context.restore();
  }
}
