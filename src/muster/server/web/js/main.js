// First who looks, then the page.

import * as api from "./api.js";
import { App } from "./app.js";
import { el } from "./dom.js";
import { askToken } from "./signin.js";

const AGAIN_MS = 1_000;

const place = /** @type {HTMLElement} */ (document.getElementById("page"));
const announcer = /** @type {HTMLElement} */ (document.getElementById("announcer"));

export async function start() {
  return new App(place, announcer, await whoLooks());
}

/** @returns {Promise<api.Session>} */
async function whoLooks() {
  for (;;) {
    try {
      return await api.session();
    } catch (problem) {
      if (problem instanceof api.Problem && problem.status === 401) return askToken(place);
      place.replaceChildren(
        el(
          "p",
          { class: "waiting", role: "status" },
          "The server does not answer yet; this page goes on trying.",
        ),
      );
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS * (0.5 + Math.random())));
    }
  }
}
