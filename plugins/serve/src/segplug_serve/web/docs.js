/** The page at `/docs`: shows `openapi.json`. */

import { askJson } from "./api.js";
import { byId, commandBlock, make } from "./dom.js";

async function start() {
  const api = await askJson("openapi.json");
  byId("name").textContent = api.info.title;
  document.title = `API · ${api.info.title}`;
  const parts = [make("p", { class: "lead", text: api.info.description })];
  if (api.security) parts.push(make("p", { text: "Requests need a token: Authorization: Bearer TOKEN." }));
  for (const [path, operations] of Object.entries(api.paths)) parts.push(...pathParts(path, operations, api));
  byId("api").replaceChildren(...parts);
}

function pathParts(path, operations, api) {
  return Object.entries(operations).map(([method, operation]) => {
    const id = `api-${operation.operationId}`;
    const title = make("h2", { id }, make("span", { class: "method", text: method.toUpperCase() }), " ", make("code", { text: path }));
    const parts = [title, make("p", { text: operation.summary })];
    if (operation.requestBody && method === "post") {
      parts.push(...examples(path, api), ...bodyParts(operation.requestBody));
    }
    // What PUT takes and answers is what POST takes and answers.
    if (method !== "put") {
      if (operation.parameters) parts.push(...parameterParts(operation.parameters));
      parts.push(...answerParts(operation.responses, api));
    }
    return make("section", { class: "panel", "aria-labelledby": id }, ...parts);
  });
}

function examples(path, api) {
  const address = new URL(path.slice(1), document.baseURI).href;
  const curl = api.security ? 'curl -H "Authorization: Bearer $TOKEN"' : "curl";
  return [
    commandBlock("A mask with a palette", `${curl} --data-binary @photo.jpg ${address} -o mask.png`),
    commandBlock("The painted image", `${curl} --data-binary @photo.jpg "${address}?output=painted" -o painted.png`),
    commandBlock("The classes and their shares", `${curl} --data-binary @photo.jpg "${address}?output=json"`),
  ];
}

function bodyParts(body) {
  const kinds = Object.keys(body.content).join(", ");
  return [make("h3", { text: "Body" }), make("p", { text: body.description }), make("p", { class: "small", text: `Content types: ${kinds}` })];
}

function parameterParts(parameters) {
  const rows = parameters.map(({ name, in: place, description, schema }) => [name, place, `${description ?? ""}\n${allowed(schema)}`.trim()]);
  return [make("h3", { text: "Parameters" }), table(["Name", "Where", "What"], rows)];
}

function allowed(schema) {
  const parts = [];
  if (schema.enum) parts.push(schema.enum.length === 1 ? `Always ${schema.enum[0]}.` : `One of ${schema.enum.join(", ")}.`);
  if (schema.minimum !== undefined) parts.push(`From ${schema.minimum} to ${schema.maximum}.`);
  if (schema.exclusiveMinimum !== undefined) parts.push(`Above ${schema.exclusiveMinimum}, at most ${schema.maximum}.`);
  if (schema.default !== undefined) parts.push(`Default: ${schema.default}.`);
  if (schema.examples) parts.push(`An example: ${schema.examples[0]}.`);
  return parts.join(" ");
}

function answerParts(responses, api) {
  const rows = Object.entries(responses).map(([status, { description, content }]) => [status, description, Object.keys(content).join(", ")]);
  const shares = Object.values(responses["200"].content).some(({ schema }) => schema.$ref?.endsWith("/Shares"));
  const parts = [make("h3", { text: "Answers" }), table(["Status", "When", "Type"], rows)];
  if (shares) parts.push(details("The JSON of output=json", api.components.schemas.Shares), details("The JSON of a refusal", api.components.schemas.Refusal));
  return parts;
}

function details(title, schema) {
  const text = JSON.stringify(schema, null, 2);
  return make("details", {}, make("summary", { text: title }), make("pre", { tabindex: "0", "aria-label": title }, make("code", { text })));
}

function table(heads, rows) {
  // On a phone the cells stand below each other; the roles say that it is a table nevertheless.
  const cell = (text) => make("td", { role: "cell", text });
  const row = (...cells) => make("tr", { role: "row" }, ...cells);
  const head = row(...heads.map((text) => make("th", { scope: "col", role: "columnheader", text })));
  const body = rows.map(([first, ...others]) =>
    row(make("th", { scope: "row", role: "rowheader" }, make("code", { text: first })), ...others.map(cell)),
  );
  return make("table", { class: "lines", role: "table" }, make("thead", {}, head), make("tbody", {}, ...body));
}

start().catch((error) => {
  byId("problem").replaceChildren(make("h2", { text: "The API cannot be shown" }), make("p", { text: error.message }));
  byId("problem").hidden = false;
});
