/** The photo and its mask over it. */

const MOST = 2 ** 21;
/** Pixels of a canvas: phones have no memory for those of a whole photo, and no screen shows them. */

const MASK_WHEN_LIT = 0.85;
const WHITE = 0xffffffff;

export class Picture {
  #photo;
  #mask;
  #stack;
  #shown = null;
  #opacity = 0.55;

  /** @param {{stack: HTMLElement, photo: HTMLCanvasElement, mask: HTMLCanvasElement}} elements */
  constructor({ stack, photo, mask }) {
    this.#stack = stack;
    this.#photo = photo;
    this.#mask = mask;
  }

  /** Show a photo without a mask; `image` is closed. */
  showPhoto(image) {
    this.#shown = null;
    const scale = Math.min(1, Math.sqrt(MOST / (image.width * image.height)));
    const [width, height] = [image.width, image.height].map((edge) => Math.max(1, Math.round(edge * scale)));
    for (const canvas of [this.#photo, this.#mask]) Object.assign(canvas, { width, height });
    this.#stack.style.setProperty("--ratio", image.width / image.height);
    const context = this.#photo.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, width, height);
    image.close();
  }

  /**
   * Lay a mask over the photo.
   * @param {{width: number, height: number, labels: Uint8Array|Uint16Array}} decoded of the photo's own size
   * @param {Uint32Array} colours of each value, as a canvas stores them; 0: not painted
   * @param {(value: number, label: number) => boolean} has whether pixels of a value have a label
   */
  showMask(decoded, colours, has) {
    const { width, height } = this.#mask;
    const small = resized(decoded, width, height);
    this.#shown = { decoded, colours, small, has };
    this.#draw(colours);
    this.setOpacity(this.#opacity);
  }

  /** How strong the mask is, 0 to 1. */
  setOpacity(opacity) {
    this.#opacity = opacity;
    if (!this.#stack.classList.contains("lit")) this.#mask.style.opacity = opacity;
  }

  /** Show one label only, strongly; `null`: all of them, as before. */
  light(label) {
    if (this.#shown === null) return;
    const lit = label !== null;
    this.#stack.classList.toggle("lit", lit);
    this.#mask.style.opacity = lit ? Math.max(this.#opacity, MASK_WHEN_LIT) : this.#opacity;
    if (!lit) return this.#draw(this.#shown.colours);
    const { colours, has } = this.#shown;
    const lighted = Uint8Array.from(colours, (_, value) => has(value, label));
    this.#draw(colours.map((_, value) => (lighted[value] ? colours[label] : 0)), lighted);
  }

  /** The label at a position of the page; `null`: there is none. */
  labelAt({ clientX, clientY }) {
    if (this.#shown === null) return null;
    const { width, height, labels } = this.#shown.decoded;
    const box = this.#mask.getBoundingClientRect();
    const x = Math.floor(((clientX - box.left) / box.width) * width);
    const y = Math.floor(((clientY - box.top) / box.height) * height);
    return x >= 0 && y >= 0 && x < width && y < height ? labels[y * width + x] : null;
  }

  /** Draw values in their colours, and a white line around some of them: their colour may be that of the photo. */
  #draw(colours, outlined = null) {
    const { width, height } = this.#mask;
    const pixels = new Uint32Array(width * height);
    const { small } = this.#shown;
    for (let place = 0; place < pixels.length; place++) pixels[place] = colours[small[place]];
    if (outlined !== null) outline(pixels, small, width, outlined);
    const data = new ImageData(new Uint8ClampedArray(pixels.buffer), width, height);
    this.#mask.getContext("2d").putImageData(data, 0, 0);
  }
}

function outline(pixels, labels, width, inside) {
  const wide = Math.max(1, Math.round(width / 400));
  const near = [-wide, wide, -wide * width, wide * width];
  for (let place = 0; place < pixels.length; place++) {
    if (!inside[labels[place]]) continue;
    // Beyond the first and the last row there is no label.
    if (near.some((step) => labels[place + step] !== undefined && !inside[labels[place + step]])) pixels[place] = WHITE;
  }
}

/** Labels at another size, each pixel the nearest one. */
function resized({ width, height, labels }, toWidth, toHeight) {
  if (width === toWidth && height === toHeight) return labels;
  const out = new labels.constructor(toWidth * toHeight);
  const columns = Uint32Array.from({ length: toWidth }, (_, x) => Math.floor(((x + 0.5) * width) / toWidth));
  for (let y = 0; y < toHeight; y++) {
    const from = Math.floor(((y + 0.5) * height) / toHeight) * width;
    const to = y * toWidth;
    for (let x = 0; x < toWidth; x++) out[to + x] = labels[from + columns[x]];
  }
  return out;
}

/**
 * The colours of labels as a canvas stores them.
 * @param {{label: number, colour: number[], painted: boolean}[]} legend labels without an entry are black
 * @param {number} count labels
 */
export function canvasColours(legend, count) {
  const bytes = new Uint8Array(count * 4);
  const colours = new Uint32Array(bytes.buffer);
  for (let place = 3; place < bytes.length; place += 4) bytes[place] = 255;
  for (const { label, colour, painted } of legend) {
    bytes.set(colour, label * 4);
    if (!painted) colours[label] = 0;
  }
  return colours;
}

/**
 * The colours of bit masks: of each set of classes the mean of theirs, and nothing where there is none.
 * @param {{colour: number[]}[]} legend the class of each bit
 * @param {number} count values; those that are no set are black
 */
export function coloursOfSets(legend, count) {
  const sets = 2 ** legend.length;
  const entries = Array.from({ length: sets }, (_, label) => {
    const there = legend.filter((_, bit) => (label >> bit) & 1);
    const mean = (channel) => Math.round(there.reduce((sum, { colour }) => sum + colour[channel], 0) / there.length);
    return there.length ? { label, colour: [mean(0), mean(1), mean(2)], painted: true } : { label, colour: [0, 0, 0], painted: false };
  });
  return canvasColours(entries, count);
}

/** How many pixels have each label. */
export function countLabels(labels) {
  const counts = new Uint32Array(labels.BYTES_PER_ELEMENT === 1 ? 256 : 65536);
  for (let place = 0; place < labels.length; place++) counts[labels[place]]++;
  return counts;
}
