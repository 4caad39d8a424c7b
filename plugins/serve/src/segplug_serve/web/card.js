/** The card of the model, from what the server says of it. */

import { byId, make, swatch } from "./dom.js";

const VERSIONS = "made with";
/** A long line that few people want to see. */

/** @param {object} described the answer to `output=meta` */
export function showCard({ meta, facts, backend, legend, segplug, limits }) {
  const { [VERSIONS]: versions, ...others } = facts;
  const most = `${mib(limits.bytes)}, ${(limits.pixels / 1e6).toFixed(1)} megapixels`;
  const rows = { name: [meta.name], ...others, "images up to": [most], "runs on": [backend, `segplug ${segplug}`] };
  const items = Object.entries(rows).map(([what, lines]) =>
    make("div", {}, make("dt", { text: what }), ...lines.map((text) => make("dd", { text }))),
  );
  byId("card").querySelector("dl").replaceChildren(...items);
  showClasses(legend);
  byId("versions").hidden = versions === undefined;
  byId("versions").querySelector("p").textContent = (versions ?? []).join(", ");
  byId("card").hidden = false;
}

function showClasses(legend) {
  const details = byId("classes");
  details.querySelector("summary").textContent = legend.length === 1 ? "1 class" : `${legend.length} classes`;
  const items = legend.map(({ name, colour, painted }) =>
    make("li", {}, swatch(colour, painted), make("span", { text: name })),
  );
  details.querySelector("ul").replaceChildren(...items);
}

const mib = (bytes) => (bytes >= 2 ** 20 ? `${+(bytes / 2 ** 20).toFixed(1)} MiB` : `${bytes} bytes`);
