// Small windows: a question before something is done, and a word after.

import { el } from "./dom.js";

const SHOWN_MS = 5_000;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let leaving;

/**
 * Ask before something is done that cannot be taken back.
 *
 * @param {{ title: string, text: string, action: string, danger?: boolean }} question
 * @returns {Promise<boolean>}
 */
export function ask(question) {
  const yes = el(
    "button",
    { class: question.danger ? "button danger" : "button primary", value: "yes" },
    question.action,
  );
  const dialog = el(
    "dialog",
    { class: "ask", "aria-labelledby": "question" },
    el(
      "form",
      { method: "dialog" },
      el("h2", { id: "question" }, question.title),
      el("p", {}, question.text),
      el("div", { class: "row" }, el("button", { class: "button", value: "no" }, "Leave it"), yes),
    ),
  );
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Show a word for some seconds, and have it read out.
 *
 * @param {string} words
 */
export function toast(words) {
  clearTimeout(leaving);
  document.querySelector(".toast")?.remove();
  const shown = el("div", { class: "toast", role: "status" });
  document.body.append(shown);
  shown.textContent = words;
  leaving = setTimeout(() => shown.remove(), SHOWN_MS);
}
