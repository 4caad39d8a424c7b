/** How long what was done has taken, as the server and the browser measured it. */

import { make } from "./dom.js";

const SERVER = { decode: "the image", process: "preprocessing, labels", encode: "the mask" };

/**
 * @param {HTMLTableElement} table
 * @param {string|null} header `Server-Timing`
 * @param {{begun: number, received: number, decoded: number, based: number, shown: number}} times of the browser,
 *   milliseconds: the mask received and decoded, the image under it there, all shown
 */
export function showTiming(table, header, times) {
  const server = parsed(header ?? "");
  const rest = times.received - times.begun - Object.values(server).reduce((sum, value) => sum + value, 0);
  const rows = [["The model", server.model]];
  for (const [name, about] of Object.entries(SERVER)) rows.push([`Server: ${about}`, server[name]]);
  rows.push(["Sending, waiting, receiving", Math.max(0, rest)]);
  rows.push(["Browser: the image", times.based - times.decoded]);
  rows.push(["Browser: the mask", times.decoded - times.received + times.shown - times.based]);
  rows.push(["In all", times.shown - times.begun]);
  const body = rows
    .filter(([, value]) => value !== undefined)
    .map(([about, value]) => make("tr", {}, make("th", { scope: "row", text: about }), make("td", { text: milliseconds(value) })));
  table.tBodies[0].replaceChildren(...body);
}

const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

function parsed(header) {
  const found = {};
  for (const part of header.split(",")) {
    const match = /^\s*([\w-]+);dur=([\d.]+)/.exec(part);
    if (match) found[match[1]] = Number(match[2]);
  }
  return found;
}
