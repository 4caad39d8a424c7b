/** The command lines that do the same as the page. */

import { commandBlock } from "./dom.js";

/**
 * @param {{name: string, url: string|null}} source the image: a file of the user, or a sample with its address
 * @param {string} predictions the address of the predictions
 * @param {number} opacity of the painted image, 0 to 1
 * @param {boolean} token whether the server wants one
 */
export function commandsFor(source, predictions, opacity, token) {
  const painted = `${predictions}?output=painted&opacity=${opacity}`;
  return [
    commandBlock("The mask: a PNG whose values are the labels", line(source, predictions, "mask", token)),
    commandBlock("The painted image", line(source, painted, "painted", token)),
  ];
}

/** The name of a file beside the image's own. */
export const nameBeside = (name, what) => `${name.replace(/\.[^.]*$/, "") || "image"}-${what}.png`;

function line({ name, url }, address, what, token) {
  const curl = token ? 'curl -H "Authorization: Bearer $TOKEN"' : "curl";
  const output = `-o ${quoted(nameBeside(name, what))}`;
  if (url === null) return `${curl} --data-binary @${quoted(name)} "${address}" ${output}`;
  return `${curl} -s "${url}" | ${curl} --data-binary @- "${address}" ${output}`;
}

/** A word for a shell. */
const quoted = (word) => (/^[\w.,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
