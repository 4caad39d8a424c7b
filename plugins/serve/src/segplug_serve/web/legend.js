/** The legend of a mask: a button for each class that occurs, largest first. */

import { make, percent, swatch } from "./dom.js";
import { membership } from "./sets.js";

/**
 * The classes of a mask.
 * @param {Uint32Array} counts pixels of each label
 * @param {{label: number, name: string, colour: number[], painted: boolean}[]} known
 * @param {number} unknown the label of pixels without a class
 * @param {boolean} multilabel whether the mask is a bit mask: a pixel counts for each of its classes
 */
export function classesOf(counts, known, unknown, multilabel) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (multilabel) return largestFirst(classesOfBits(counts, known, unknown), total);
  const found = [];
  counts.forEach((pixels, label) => {
    if (!pixels) return;
    const name = label === unknown ? "unknown" : String(label);
    const entry = known.find((each) => each.label === label) ?? { label, name, colour: [0, 0, 0], painted: true };
    found.push({ ...entry, pixels });
  });
  return largestFirst(found, total);
}

function classesOfBits(counts, known, unknown) {
  const has = membership(known.length);
  const colour = [0, 0, 0];
  const others = [
    { label: 0, name: "no class", colour, painted: false },
    { label: unknown, name: "unknown", colour, painted: true },
  ];
  const pixels = (label) => counts.reduce((sum, count, value) => (has(value, label) ? sum + count : sum), 0);
  return [...known, ...others].map((entry) => ({ ...entry, pixels: pixels(entry.label) })).filter((entry) => entry.pixels);
}

const largestFirst = (entries, total) =>
  entries.map((entry) => ({ ...entry, share: entry.pixels / total })).sort((one, other) => other.pixels - one.pixels);

export class Legend {
  #list;
  #light;
  #kept = null;

  /**
   * @param {HTMLElement} list
   * @param {(label: number|null) => void} light called with the class to show alone; `null`: all
   */
  constructor(list, light) {
    this.#list = list;
    this.#light = light;
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#keep(null);
    });
  }

  show(classes) {
    this.#kept = null;
    this.#list.replaceChildren(...classes.map((each) => make("li", {}, this.#button(each))));
  }

  /**
   * Mark the classes under the pointer.
   * @param {(label: number) => boolean} isThere
   * @returns {string} their names
   */
  mark(isThere) {
    const buttons = [...this.#list.querySelectorAll("button")];
    for (const button of buttons) button.classList.toggle("under", isThere(Number(button.dataset.label)));
    const under = buttons.filter((button) => button.classList.contains("under"));
    return under.map((button) => button.querySelector(".name").textContent).join(", ");
  }

  #button({ label, name, colour, painted, pixels, share }) {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `calc((100% - 1rem) * ${share})`;
    const button = make(
      "button",
      { type: "button", "data-label": label, "aria-pressed": "false", title: `label ${label}: ${pixels.toLocaleString("en")} pixels` },
      swatch(colour, painted),
      make("span", { class: "name", text: name }),
      make("span", { class: "share", text: percent(share) }),
      bar,
    );
    button.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "touch") this.#light(label);
    });
    button.addEventListener("pointerleave", () => this.#light(this.#kept));
    button.addEventListener("focus", () => this.#light(label));
    button.addEventListener("blur", () => this.#light(this.#kept));
    button.addEventListener("click", () => this.#keep(this.#kept === label ? null : label));
    return button;
  }

  #keep(label) {
    this.#kept = label;
    for (const button of this.#list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.label === String(label)));
    }
    this.#light(label);
  }
}
