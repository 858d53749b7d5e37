// Moving around in a picture: by wheel, by dragging, with two fingers, and from outside.

const LEAST = 0.08;
const MOST = 4;
/** A picture that fits is never blown up beyond this. */
const FITTING = 1.25;
const MARGIN = 28;

export class Camera {
  #frame; #world; #x = 0; #y = 0; #k = 1; #w = 1; #h = 1; #pointers = new Map(); #moved = 0; #isFitted = true;

  constructor(frame, world) {
    this.#frame = frame;
    this.#world = world;
    frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    frame.addEventListener("pointermove", (event) => this.#drag(event));
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, (event) => this.#up(event));
    // While all of it is shown, all of it stays shown.
    new ResizeObserver(() => this.#isFitted && this.fit(false)).observe(frame);
  }

  /** The last press was a drag and no click. */
  get hasMoved() { return this.#moved > 4; }
  get isDragged() { return this.#pointers.size > 0 && this.hasMoved; }

  size(w, h) {
    [this.#w, this.#h] = [w, h];
  }

  fit(moving) {
    const { width, height } = this.#room();
    if (!width || !height) return;
    const k = Math.min((width - 2 * MARGIN) / this.#w, (height - 2 * MARGIN) / this.#h, FITTING);
    this.#to((width - this.#w * k) / 2, Math.max(MARGIN, (height - this.#h * k) * 0.4), Math.max(k, LEAST), moving);
    this.#isFitted = true;
  }

  /** After the picture has changed: all of it if that is readable, or else `node` where it was on the screen. */
  settle(node, [x, y]) {
    const { width, height } = this.#room();
    const k = Math.min((width - 2 * MARGIN) / this.#w, (height - 2 * MARGIN) / this.#h);
    if (k > 0.5 || !node) return this.fit(true);
    this.#to(x - node.x * this.#k, y - node.y * this.#k, this.#k, true);
    this.#isFitted = false;
  }

  zoom(by) {
    const { width, height } = this.#room();
    this.#around(width / 2, height / 2, by, true);
  }

  pan(x, y) {
    this.#isFitted = false;
    this.#to(this.#x + x, this.#y + y, this.#k, true);
  }

  reveal({ x, y, w, h }) {
    const { width, height } = this.#room();
    const [left, top] = this.toScreen(x, y);
    const out = (at, size, room) => (at < MARGIN ? MARGIN - at : at + size > room - MARGIN ? Math.min(0, room - MARGIN - size - at) : 0);
    const [dx, dy] = [out(left, w * this.#k, width), out(top, h * this.#k, height)];
    if (dx || dy) this.pan(dx, dy);
  }

  toScreen(x, y) {
    return [x * this.#k + this.#x, y * this.#k + this.#y];
  }

  #room() {
    return { width: this.#frame.clientWidth, height: this.#frame.clientHeight };
  }

  #to(x, y, k, moving) {
    [this.#x, this.#y, this.#k] = [x, y, k];
    this.#world.classList.toggle("moving", moving);
    this.#world.style.transform = `translate(${x}px, ${y}px) scale(${k})`;
  }

  #around(x, y, by, moving) {
    const k = Math.min(MOST, Math.max(LEAST, this.#k * by));
    const grown = k / this.#k;
    this.#isFitted = false;
    this.#to(x - (x - this.#x) * grown, y - (y - this.#y) * grown, k, moving);
  }

  #wheel(event) {
    event.preventDefault();
    const box = this.#frame.getBoundingClientRect();
    const step = event.deltaMode === 1 ? 18 : 1;
    if (event.shiftKey) return this.#slide(-(event.deltaX || event.deltaY) * step, 0);
    this.#around(event.clientX - box.left, event.clientY - box.top, Math.exp(-event.deltaY * step * (event.ctrlKey ? 0.008 : 0.0016)), false);
  }

  #slide(x, y) {
    this.#isFitted = false;
    this.#to(this.#x + x, this.#y + y, this.#k, false);
  }

  #down(event) {
    if (event.button > 0) return;
    if (this.#pointers.size === 0) this.#moved = 0;
    this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    this.#moved += Math.abs(dx) + Math.abs(dy);
    if (!this.hasMoved) return;
    this.#frame.setPointerCapture(event.pointerId);
    this.#frame.classList.add("dragged");
    if (this.#pointers.size === 2) {
      const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1];
      const far = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
      const box = this.#frame.getBoundingClientRect();
      this.#around((now[0] + other[0]) / 2 - box.left, (now[1] + other[1]) / 2 - box.top, far(now, other) / far(before, other), false);
      this.#slide(dx / 2, dy / 2);
    } else this.#slide(dx, dy);
    this.#pointers.set(event.pointerId, now);
  }

  #up(event) {
    this.#pointers.delete(event.pointerId);
    if (this.#pointers.size === 0) this.#frame.classList.remove("dragged");
  }
}
