/** Requests to the server that gave this page, with its token if it needs one. */

import { byId } from "./dom.js";

const KEY = "segplug-token";
let memory = "";

/** A refusal: its status and the server's own words. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** The server gave no answer at all. */
export class Unreachable extends Error {}

export const hasToken = () => token() !== "";

/**
 * Ask the server; paths are relative to the page, so a proxy may put the server under any path.
 * A 401 shows the form for the token, and the request is repeated with what is typed.
 */
export async function ask(path, options = {}) {
  for (;;) {
    const headers = new Headers(options.headers);
    if (hasToken()) headers.set("Authorization", `Bearer ${token()}`);
    const answer = await send(path, { ...options, headers });
    if (answer.ok) return answer;
    const reason = await why(answer);
    if (answer.status !== 401) throw new Refused(answer.status, reason);
    await typedToken(hasToken() ? "The server did not accept this token." : "");
  }
}

export const askJson = async (path) => (await ask(path)).json();

async function send(path, options) {
  try {
    return await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("The server gave no answer. It may have been stopped, or the connection was cut.");
  }
}

async function why(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).error || text;
  } catch {
    return text || answer.statusText;
  }
}

function token() {
  try {
    return sessionStorage.getItem(KEY) || memory;
  } catch {
    return memory; // the browser keeps nothing for this page
  }
}

function keep(value) {
  memory = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // kept in memory
  }
}

let typing = null;

/** Show the form and wait until something is typed; requests that wait at the same time share it. */
function typedToken(reason) {
  const form = byId("token-form");
  byId("token-reason").textContent = reason;
  if (form.hidden) {
    form.hidden = false;
    byId("token").focus();
  }
  typing ??= new Promise((resolve) => {
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        keep(byId("token").value.trim());
        byId("token").value = "";
        form.hidden = true;
        typing = null;
        resolve();
      },
      { once: true },
    );
  });
  return typing;
}
