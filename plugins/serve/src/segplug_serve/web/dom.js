/** Elements of the page. Text is always set as text: names of classes and files are written by strangers. */

export const byId = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} tag
 * @param {object} attributes `class`, `text`, other attributes, and `onclick` and the like
 * @param {...Node} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A square in a class's colour. */
export function swatch([red, green, blue], painted = true) {
  const square = make("span", { class: painted ? "swatch" : "swatch unpainted", "aria-hidden": "true" });
  if (painted) square.style.backgroundColor = `rgb(${red} ${green} ${blue})`;
  return square;
}

/** A block with a command line and a button that copies it. */
export function commandBlock(title, text) {
  const code = make("code", { text });
  const button = make("button", { type: "button", text: "Copy", "aria-label": `Copy: ${title}` });
  button.addEventListener("click", async () => {
    button.textContent = (await copied(code)) ? "Copied" : "Select it and copy";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  const line = make("pre", { tabindex: "0", "aria-label": title }, code);
  return make("figure", { class: "command" }, make("figcaption", { text: title }), button, line);
}

async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    // Browsers have no clipboard for pages that come over plain HTTP from another machine.
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}

export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.001 ? 3 : 1)} %`;
