/** The card of the model, from its metadata. */

import { byId, make, swatch } from "./dom.js";

/** @param {object} described the answer to `output=meta` */
export function showCard(described) {
  const { meta, backend, legend, segplug, limits } = described;
  const rows = [
    ["Name", meta.name],
    ["Input", inputOf(meta)],
    ["Images up to", `${mib(limits.bytes)}, ${(limits.pixels / 1e6).toFixed(1)} megapixels`],
    ["Verified", verified(meta.verification)],
    ["Made from", [meta.provenance.config, meta.provenance.checkpoint].filter(Boolean).join(", ") || "not recorded"],
    ["Runs on", `${backend}, segplug ${segplug}`],
  ];
  if (meta.approximations.length) rows.push(["Approximate", meta.approximations.join("; ")]);
  byId("card")
    .querySelector("dl")
    .replaceChildren(...rows.map(([term, text]) => make("div", {}, make("dt", { text: term }), make("dd", { text }))));
  showClasses(legend);
  const versions = Object.entries(meta.versions).map(([name, version]) => `${name} ${version}`);
  byId("versions").hidden = versions.length === 0;
  byId("versions").querySelector("p").textContent = versions.join(", ");
  byId("card").hidden = false;
}

function showClasses(legend) {
  const details = byId("classes");
  details.querySelector("summary").textContent = legend.length === 1 ? "1 class" : `${legend.length} classes`;
  const items = legend.map(({ name, colour, painted }) => make("li", {}, swatch(colour, painted), make("span", { text: name })));
  details.querySelector("ul").replaceChildren(...items);
}

function inputOf(meta) {
  const parts = [meta.in_channels === 3 ? "colour images" : `images of ${meta.in_channels} channels`];
  if (meta.input_size) parts.push(`network input ${meta.input_size[1]} × ${meta.input_size[0]}`);
  if (meta.inference.mode === "slide") {
    const [height, width] = meta.inference.crop_size;
    parts.push(`in sliding windows of ${width} × ${height}`);
  }
  return parts.join(", ");
}

function verified(comparison) {
  if (!comparison) return "not compared with what it was made from";
  const share = (100 * comparison.label_agreement).toFixed(3);
  const agreed = `${share} % of the labels as ${comparison.reference || "the reference"} gives them`;
  return comparison.passed ? `yes: ${agreed}` : `failed: ${comparison.failures.join("; ") || agreed}`;
}

const mib = (bytes) => (bytes >= 2 ** 20 ? `${+(bytes / 2 ** 20).toFixed(1)} MiB` : `${bytes} bytes`);
