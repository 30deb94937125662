// The way in: a token, changed into a cookie that scripts cannot read.

import * as api from "./api.js";
import { el } from "./dom.js";

/**
 * Ask for a token until one is good.
 *
 * @param {HTMLElement} place
 * @returns {Promise<api.Session>}
 */
export function askToken(place) {
  const wrong = el("p", { class: "wrong", role: "alert", hidden: true });
  const token = el("input", {
    class: "field",
    type: "password",
    name: "token",
    required: true,
    autocomplete: "current-password",
    spellcheck: "false",
    placeholder: "muster_…",
  });
  const button = el("button", { class: "button primary" }, "Sign in");
  const form = el(
    "form",
    {},
    el("img", { class: "logo", src: "/web/icon.svg", alt: "" }),
    el("h1", {}, "Sign in to Muster"),
    el(
      "p",
      {},
      "With a token from the server's operator: ",
      el("code", {}, "muster token add"),
      " makes one.",
    ),
    el("label", {}, "Token", token),
    wrong,
    button,
  );
  place.replaceChildren(el("main", { class: "sign-in" }, form));
  token.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        resolve(await api.signIn(token.value.trim()));
      } catch (problem) {
        wrong.textContent = problem instanceof Error ? problem.message : String(problem);
        wrong.hidden = false;
        token.select();
      } finally {
        button.disabled = false;
      }
    });
    // Somebody may have signed in on another tab meanwhile.
    const look = () => document.hidden || api.session().then(resolve, () => undefined);
    document.addEventListener("visibilitychange", look);
  });
}
