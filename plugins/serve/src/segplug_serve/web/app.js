/** The page at `/`: takes an image, shows the mask that the server answers with. */

import { Refused, Unreachable, ask, askJson, hasToken } from "./api.js";
import { offerCamera } from "./camera.js";
import { showCard } from "./card.js";
import { commandsFor, nameBeside } from "./commands.js";
import { byId, make, percent } from "./dom.js";
import { Legend, classesOf } from "./legend.js";
import { Picture, canvasColours, coloursOfSets, countLabels } from "./picture.js";
import { decodeLabels } from "./png.js";
import { offerSamples } from "./samples.js";
import { membership } from "./sets.js";
import { showTiming } from "./timing.js";

const ALMOST_NOTHING = "0.001";
/** The opacity of a painted image that looks like the image itself. */

const picture = new Picture({ stack: byId("stack"), photo: byId("photo"), mask: byId("mask") });
const legend = new Legend(byId("legend"), (label) => picture.light(label));

/** What the server said of itself. */
let server = null;
/** What is shown: its file, where it came from, its mask. */
let current = null;
/** Whether pixels of a value of the mask have a label. */
let has = membership(0);
/** Ends the request that is on its way when another image is chosen. */
let running = new AbortController();

async function start() {
  const { models } = await askJson("models");
  const path = `predictions/${encodeURIComponent(models[0].name)}`;
  const described = await askJson(`${path}?output=meta`);
  server = { name: models[0].name, path, described, statuses: {} };
  byId("name").textContent = server.name;
  document.title = `${server.name} · segplug`;
  showCard(described);
  const api = await askJson("openapi.json");
  server.statuses = api.paths[`/predictions/${server.name}`].post.responses;
  offerSamples(segment).catch(showProblem);
}

let started = start();
started.catch(showProblem);

/** What the page needs of the server, which may not have been there when the page was opened. */
async function ready() {
  try {
    await started;
  } catch {
    started = start();
    await started;
  }
}

/**
 * Send an image and show its mask.
 * @param {() => File|Promise<File>} given
 * @param {string|null} url the address of a sample
 */
async function segment(given, url = null) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const times = { begun: performance.now() };
  let name = "";
  try {
    byId("problem").hidden = true;
    await ready();
    const file = await given();
    if (signal.aborted) return;
    name = file.name;
    document.body.classList.add("busy");
    byId("status").textContent = `Sending ${name} …`;
    refuseLarge(file);
    const photo = decodePhoto(file);
    photo.then((image) => image && !signal.aborted && showPreview(image));
    const answer = await predict(file, {}, signal);
    const mask = await answer.blob();
    times.received = performance.now();
    const decoded = await decodeLabels(await mask.arrayBuffer());
    times.decoded = performance.now();
    await showBase(await photo, decoded, file, signal);
    times.based = performance.now();
    if (signal.aborted) return;
    current = { name, url, file, mask };
    showResult(decoded);
    times.shown = performance.now();
    showTiming(byId("timing"), answer.headers.get("Server-Timing"), times);
    performance.measure("segplug-result", { start: times.begun, end: times.shown });
  } catch (error) {
    if (!signal.aborted) showProblem(error, () => segment(given, url), name);
  } finally {
    if (!signal.aborted) document.body.classList.remove("busy");
  }
}

function predict(file, controls, signal) {
  const query = new URLSearchParams(controls).toString();
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  return ask(query ? `${server.path}?${query}` : server.path, { method: "POST", body: file, headers, signal });
}

/** The server closes the connection of a file that is much too large before a browser reads the refusal. */
function refuseLarge(file) {
  const most = server.described.limits.bytes;
  if (file.size > most) throw new Refused(413, `${file.name} has ${file.size} bytes, more than ${most}`);
}

/** The photo as the model sees it; `null`: the browser cannot show such a file. */
async function decodePhoto(file) {
  const { library, color } = server.described.meta.decoding;
  const turned = ["opencv", "pillow"].includes(library) && ["color", "grayscale"].includes(color);
  try {
    return await createImageBitmap(file, { imageOrientation: turned ? "from-image" : "none" });
  } catch {
    return null;
  }
}

let preview = null;

function showPreview(image) {
  preview = { width: image.width, height: image.height };
  document.body.classList.add("has-result");
  byId("result").hidden = false;
  byId("result").classList.add("waiting");
  picture.showPhoto(image);
}

/** See that the image under the mask has the mask's size; else, and for what a browser cannot show, the server's. */
async function showBase(image, decoded, file, signal) {
  if (image && preview?.width === decoded.width && preview?.height === decoded.height) return;
  const answer = await predict(file, { output: "painted", opacity: ALMOST_NOTHING }, signal);
  showPreview(await createImageBitmap(await answer.blob()));
}

function showResult(decoded) {
  const { legend: known, unknown_label: unknown, multilabel } = server.described;
  const counts = countLabels(decoded.labels);
  const classes = classesOf(counts, known, unknown, multilabel);
  has = membership(multilabel ? known.length : 0);
  picture.light(null);
  picture.showMask(decoded, multilabel ? coloursOfSets(known, counts.length) : canvasColours(known, counts.length), has);
  legend.show(classes);
  const listed = classes.map(({ name, share }) => `${name} ${percent(share)}`).join(", ");
  byId("mask").setAttribute("aria-label", `Mask of ${current.name}: ${listed}`);
  byId("result-title").textContent = current.name;
  const number = classes.filter(({ name }) => !multilabel || name !== "no class").length;
  const count = number === 1 ? "1 class" : `${number} classes`;
  byId("status").textContent = `${current.name}: ${decoded.width} × ${decoded.height} pixels, ${count}. Most of it is ${classes[0].name}.`;
  offerDownload();
  showCommands();
  byId("result").classList.remove("waiting");
}

function offerDownload() {
  const link = byId("save-mask");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(current.mask);
  link.download = nameBeside(current.name, "mask");
}

function showCommands() {
  const address = new URL(server.path, document.baseURI).href;
  byId("commands").replaceChildren(...commandsFor(current, address, opacity(), hasToken()));
}

/** The slider's value for a painted image, which takes no 0. */
const opacity = () => Math.max(0.01, byId("opacity").valueAsNumber / 100);

async function savePainted() {
  const button = byId("save-painted");
  button.disabled = true;
  try {
    const answer = await predict(current.file, { output: "painted", opacity: opacity() }, running.signal);
    const href = URL.createObjectURL(await answer.blob());
    make("a", { href, download: nameBeside(current.name, "painted") }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  } catch (error) {
    if (error.name !== "AbortError") showProblem(error, savePainted);
  } finally {
    button.disabled = false;
  }
}

/** Show an error: the server's own words, what its status means, and a way to try again. */
function showProblem(error, again = null, name = "") {
  let title = "This page failed";
  if (error instanceof Refused) title = `The server gave no mask${name && ` for ${name}`} (status ${error.status})`;
  else if (error instanceof Unreachable) title = "No answer";
  else console.error(error);
  const parts = [make("h2", { text: title }), make("p", { class: "reason", text: error.message })];
  const about = server?.statuses[error.status]?.description;
  if (about) parts.push(make("p", { text: about }));
  const mayPass = !(error instanceof Refused) || error.status >= 500 || error.status === 408;
  if (again && mayPass) parts.push(make("button", { type: "button", text: "Try again", onclick: again }));
  byId("problem").replaceChildren(...parts);
  byId("problem").hidden = false;
  byId("status").textContent = "";
  if (byId("result").classList.contains("waiting")) {
    byId("result").hidden = true;
    document.body.classList.remove("has-result");
  }
}

function chooseFirst(files) {
  if (files.length === 0) return;
  segment(() => files[0]);
}

byId("pick").addEventListener("click", () => byId("file").click());
for (const id of ["file", "snap"]) {
  byId(id).addEventListener("change", ({ target }) => {
    chooseFirst([...target.files]);
    target.value = ""; // the same file can be chosen again
  });
}
document.addEventListener("paste", ({ clipboardData }) => chooseFirst([...clipboardData.files]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  chooseFirst([...event.dataTransfer.files]);
});
byId("opacity").addEventListener("input", ({ target }) => {
  picture.setOpacity(target.valueAsNumber / 100);
  byId("opacity-shown").textContent = `${target.value} %`;
});
byId("opacity").addEventListener("change", showCommands);
byId("save-painted").addEventListener("click", savePainted);
byId("stack").addEventListener("pointermove", (event) => {
  const value = picture.labelAt(event);
  byId("under").textContent = legend.mark((label) => value !== null && has(value, label));
});
byId("stack").addEventListener("pointerleave", () => {
  legend.mark(() => false);
  byId("under").textContent = "";
});
offerCamera(
  (file) => segment(() => file),
  (reason) => showProblem(new Unreachable(`The camera cannot be used: ${reason}`)),
);
