/** The samples that the server offers. */

import { ask, askJson } from "./api.js";
import { byId, make } from "./dom.js";

const MOST_BYTES = 2 ** 20;
/** Larger files are fetched only when they are chosen. */

/** @param {(file: () => Promise<File>, url: string) => void} chosen called with a sample and its address */
export async function offerSamples(chosen) {
  const { samples } = await askJson("samples");
  const buttons = samples.map((sample) => sampleButton(sample, chosen));
  byId("sample-list").replaceChildren(...buttons.map(({ button }) => make("li", {}, button)));
  byId("samples").hidden = false;
  for (const { showPreview } of buttons) await showPreview();
}

function sampleButton(sample, chosen) {
  const button = make("button", { type: "button", class: "sample", title: sample.name }, make("span", { text: sample.name }));
  let file = null;
  const fetched = async () => {
    file ??= new File([await (await ask(sample.url)).blob()], sample.name, { type: sample.type });
    return file;
  };
  button.addEventListener("click", () => chosen(fetched, new URL(sample.url, document.baseURI).href));
  const showPreview = async () => {
    if (sample.size > MOST_BYTES || !sample.type.startsWith("image/") || sample.type === "image/tiff") return;
    try {
      const image = await createImageBitmap(await fetched(), { resizeWidth: 160, resizeQuality: "medium" });
      const canvas = make("canvas", { width: image.width, height: image.height, "aria-hidden": "true" });
      canvas.getContext("2d").drawImage(image, 0, 0);
      image.close();
      button.prepend(canvas);
    } catch {
      // a file that the browser cannot show: its name is enough
    }
  };
  return { button, showPreview };
}
