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
   * @param {Uint32Array} colours of each label, as a canvas stores them; 0: not painted
   */
  showMask(decoded, colours) {
    const { width, height } = this.#mask;
    const small = resized(decoded, width, height);
    this.#shown = { decoded, colours, small };
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
    const only = new Uint32Array(this.#shown.colours.length);
    only[label] = this.#shown.colours[label];
    this.#draw(only, label);
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

  /** Draw labels in their colours, and a white line around one of them: its colour may be that of the photo. */
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

function outline(pixels, labels, width, label) {
  const wide = Math.max(1, Math.round(width / 400));
  const near = [-wide, wide, -wide * width, wide * width];
  for (let place = 0; place < pixels.length; place++) {
    if (labels[place] !== label) continue;
    // Beyond the first and the last row there is no label.
    if (near.some((step) => labels[place + step] !== label && labels[place + step] !== undefined)) pixels[place] = WHITE;
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

/** How many pixels have each label. */
export function countLabels(labels) {
  const counts = new Uint32Array(labels.BYTES_PER_ELEMENT === 1 ? 256 : 65536);
  for (let place = 0; place < labels.length; place++) counts[labels[place]]++;
  return counts;
}
