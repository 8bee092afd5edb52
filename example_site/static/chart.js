// A chart that moves: the last half minute of some figures, scrolling to the left.

const SVG = "http://www.w3.org/2000/svg";
const WINDOW_MS = 30_000;
// Points arrive twice a second; drawn this much later, each is there before it scrolls in.
const DELAY_MS = 900;
const LABEL_PX = 44;
const PADDING_PX = 10;
// How much of the way to its new scale the chart goes in one frame.
const EASING = 0.12;

const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

function shape(tag, className) {
  const made = document.createElementNS(SVG, tag);
  made.setAttribute("class", className);
  return made;
}

// The smallest of 1, 2, 5 times a power of ten that is at least `value`.
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((nice) => nice >= value);
}

export class Chart {
  #plot;
  #series;
  #isMirrored;
  #leastScale;
  #points = [];
  #svg = shape("svg", "");
  #grid = shape("g", "grid");
  #window = shape("svg", "");
  #moving = shape("g", "moving");
  #width = 0;
  #height = 0;
  #scale;
  #targetScale;
  #originMs = 0;

  // `series` are { key, direction }: direction 1 is drawn upwards, -1 downwards. `leastScale`
  // is the least figure that the axis reaches, so that small ones look small.
  constructor(plot, series, leastScale) {
    this.#plot = plot;
    this.#series = series.map(({ key, direction = 1 }) => ({
      key,
      direction,
      area: shape("path", `area ${key}`),
      line: shape("path", `line ${key}`),
    }));
    this.#isMirrored = this.#series.some(({ direction }) => direction < 0);
    this.#leastScale = leastScale;
    this.#scale = this.#targetScale = leastScale;
    this.#moving.append(...this.#series.flatMap(({ area, line }) => [area, line]));
    // An inner svg clips what has not scrolled in yet.
    this.#window.append(this.#moving);
    this.#svg.append(this.#grid, this.#window);
    plot.append(this.#svg);
    new ResizeObserver(() => this.#resize()).observe(plot);
    requestAnimationFrame(() => this.#frame());
  }

  // Adds the figures of this moment; null for a moment without, which leaves a gap.
  add(values) {
    const nowMs = performance.now();
    const oldestMs = nowMs - WINDOW_MS - 2 * DELAY_MS;
    this.#points = this.#points.filter(({ atMs }) => atMs > oldestMs);
    this.#points.push({ atMs: nowMs, values });
    this.#rescale();
    this.#draw();
  }

  #resize() {
    this.#width = this.#plot.clientWidth;
    this.#height = this.#plot.clientHeight;
    for (const [svg, width] of [[this.#svg, this.#width], [this.#window, this.#plotWidth]]) {
      svg.setAttribute("width", width);
      svg.setAttribute("height", this.#height);
    }
    this.#drawGrid();
    this.#draw();
  }

  #rescale() {
    const keys = this.#series.map(({ key }) => key);
    const figures = this.#runs().flat().flatMap(({ values }) => keys.map((key) => values[key]));
    const scale = niceCeiling(Math.max(this.#leastScale, ...figures));
    if (scale === this.#targetScale) return;
    this.#targetScale = scale;
    if (reducedMotion.matches) this.#scale = scale;
    this.#drawGrid();
  }

  get #baseline() {
    return this.#isMirrored ? this.#height / 2 : this.#height - PADDING_PX;
  }

  get #reach() {
    return this.#baseline - PADDING_PX;
  }

  get #plotWidth() {
    return Math.max(0, this.#width - LABEL_PX);
  }

  // Paths are in pixels across and in the figures' own unit down; the moving group's
  // transform does the rest, so that a frame only has to change that.
  #draw() {
    const pixelsPerMs = this.#plotWidth / WINDOW_MS;
    this.#originMs = this.#points.at(-1)?.atMs ?? 0;
    for (const { key, direction, area, line } of this.#series) {
      let lines = "";
      let areas = "";
      for (const run of this.#runs()) {
        const corners = run.map(({ atMs, values }) => {
          const x = ((atMs - this.#originMs) * pixelsPerMs).toFixed(1);
          return `${x} ${values[key] * -direction}`;
        });
        const [first, last] = [corners[0], corners.at(-1)].map((corner) => corner.split(" ")[0]);
        lines += `M${corners.join("L")}`;
        areas += `M${first} 0L${corners.join("L")}L${last} 0z`;
      }
      line.setAttribute("d", lines);
      area.setAttribute("d", areas);
    }
    this.#place();
  }

  #runs() {
    const runs = [[]];
    for (const point of this.#points) {
      if (point.values) runs.at(-1).push(point);
      else runs.push([]);
    }
    return runs.filter((run) => run.length);
  }

  #frame() {
    if (!reducedMotion.matches) {
      this.#scale += (this.#targetScale - this.#scale) * EASING;
      this.#place();
    }
    requestAnimationFrame(() => this.#frame());
  }

  #place() {
    const nowMs = reducedMotion.matches ? this.#originMs + DELAY_MS : performance.now();
    const behindMs = nowMs - DELAY_MS - this.#originMs;
    const x = this.#plotWidth - (behindMs * this.#plotWidth) / WINDOW_MS;
    const unit = this.#reach / this.#scale;
    this.#moving.setAttribute(
      "transform",
      `translate(${x.toFixed(2)} ${this.#baseline}) scale(1 ${unit})`,
    );
  }

  #drawGrid() {
    const shares = this.#isMirrored ? [1, 0.5, 0, -0.5, -1] : [1, 0.5, 0];
    this.#grid.replaceChildren(...shares.flatMap((share) => this.#gridLine(share)));
  }

  #gridLine(share) {
    const y = Math.round(this.#baseline - share * this.#reach) + 0.5;
    const line = shape("path", share ? "" : "axis");
    line.setAttribute("d", `M0 ${y}H${this.#plotWidth}`);
    const label = shape("text", "");
    label.setAttribute("x", this.#width);
    label.setAttribute("y", y + 4);
    label.textContent = (Math.abs(share) * this.#targetScale).toLocaleString("en");
    return [line, label];
  }
}
