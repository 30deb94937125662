// What one with the role `operate` may do. The page asks before it interrupts anybody's work.

import * as api from "./api.js";
import { ask, toast } from "./dialogs.js";
import { el } from "./dom.js";

/** @typedef {{ title: string, text: string, action: string, danger?: boolean }} Question */

let allowed = false;

/** @param {api.Session} session */
export function actAs(session) {
  allowed = session.role === "operate";
}

/** @returns {boolean} */
export const mayAct = () => allowed;

/**
 * Make a button for an action; nothing for those who may not.
 *
 * @param {string} label
 * @param {() => Promise<unknown>} act
 * @param {{ question?: Question, done: string, danger?: boolean, label?: string }} more
 */
export function action(label, act, { question, done, danger = false, label: spoken = label }) {
  if (!allowed) return undefined;
  const button = el(
    "button",
    {
      class: danger ? "button danger" : "button",
      type: "button",
      "aria-label": spoken === label ? null : spoken,
      onclick: async () => {
        if (question && !(await ask(question))) return;
        button.disabled = true;
        try {
          await act();
          toast(done);
        } catch (problem) {
          toast(problem instanceof Error ? problem.message : String(problem));
        } finally {
          button.disabled = false;
        }
      },
    },
    label,
  );
  return button;
}

/** @param {string} id */
export const drain = (id) =>
  action("Drain", () => api.changeMachine(id, "drain"), {
    danger: true,
    done: `${id} is asked to drain.`,
    question: {
      title: `Drain ${id}?`,
      action: "Drain",
      danger: true,
      text: "Its workers hand their jobs back and stop. Other machines take the jobs over.",
    },
  });

/** @param {string} id */
export const undrain = (id) =>
  action("Take back into service", () => api.changeMachine(id, "undrain"), {
    done: `${id} is asked to start its workers again.`,
  });

/** @param {string} id @param {string} program */
export const restart = (id, program) =>
  action("Restart", () => api.restart(id, program), {
    label: `Restart ${program}`,
    done: `${program} on ${id} is asked to restart.`,
    question: {
      title: `Restart ${program}?`,
      action: "Restart",
      text: `On ${id}. A job that runs there goes back to the queue and starts anew.`,
    },
  });

/** @param {string} id @param {(job: unknown) => void} then */
export const cancel = (id, then) =>
  action("Cancel job", async () => then(await api.changeJob(id, "cancel")), {
    danger: true,
    done: `Job ${id} is cancelled.`,
    question: {
      title: "Cancel this job?",
      action: "Cancel job",
      danger: true,
      text: "If it runs, it is interrupted. It can be given its attempts anew afterwards.",
    },
  });

/** @param {string} id @param {(job: unknown) => void} then */
export const retry = (id, then) =>
  action("Retry job", async () => then(await api.changeJob(id, "retry")), {
    done: `Job ${id} has its attempts anew.`,
  });

export const resumeQueue = () =>
  action("Resume", () => api.changeQueue("resume"), { done: "The queue hands out jobs again." });
