// Single requests. What went wrong comes as a problem document, and is told in its words.

export class Problem extends Error {
  /** @param {number} status @param {string} words */
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

/**
 * @typedef {{ kind: string, message: string }} JobError
 * @typedef {{ number: number, worker: string, outcome: string, started_at: string,
 *   ended_at: string, error: JobError }} Attempt
 * @typedef {{
 *   id: string, state: string, service: string, priority: number, payload?: unknown,
 *   requirements: { models: string[], vram_mib: number, labels: Record<string, string> },
 *   submitted_at: string, due_at?: string, started_at?: string, finished_at?: string,
 *   worker?: string, attempt: number, failed_attempts: number, lost_attempts: number,
 *   max_failed: number, max_lost: number, timeout_s: number, result?: unknown,
 *   progress?: { fraction: number, message: string }, attempts: Attempt[],
 * }} Job
 * @typedef {{ jobs: Job[], cursor?: string, total: number }} JobPage
 * @typedef {{ summary: string, reasons: string[] }} Explanation
 * @typedef {{ name: string, role: "view" | "submit" | "operate" }} Session
 */

/** @returns {Promise<Session>} */
export const session = () => call("GET", "/v1/session");
/** @param {string} token @returns {Promise<Session>} */
export const signIn = (token) => call("POST", "/v1/session", { token });
export const signOut = () => call("DELETE", "/v1/session");

/** @param {string} id @returns {Promise<Job>} */
export const job = (id) => call("GET", `/v1/jobs/${encodeURIComponent(id)}`);
/** @param {string} id @returns {Promise<Explanation>} */
export const explanation = (id) => call("GET", `/v1/jobs/${encodeURIComponent(id)}/explanation`);
/** @param {string} state @param {string} cursor @returns {Promise<JobPage>} */
export function jobs(state, cursor) {
  const query = new URLSearchParams({ state, limit: "50" });
  if (cursor) query.set("cursor", cursor);
  return call("GET", `/v1/jobs?${query}`);
}

/** @param {string} id @param {"cancel" | "retry"} what */
export const changeJob = (id, what) => call("POST", `/v1/jobs/${encodeURIComponent(id)}/${what}`);
/** @param {string} id @param {"drain" | "undrain"} what */
export const changeMachine = (id, what) =>
  call("POST", `/v1/machines/${encodeURIComponent(id)}/${what}`);
/** @param {string} id @param {string} program */
export const restart = (id, program) =>
  call(
    "POST",
    `/v1/machines/${encodeURIComponent(id)}/programs/${encodeURIComponent(program)}/restart`,
  );
/** @param {"pause" | "resume"} what */
export const changeQueue = (what) => call("POST", `/v1/queue/${what}`);

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 */
async function call(method, path, body) {
  /** @type {RequestInit} */
  const request = { method };
  if (body !== undefined) {
    request.body = JSON.stringify(body);
    request.headers = { "Content-Type": "application/json" };
  }
  const answer = await fetch(path, request).catch(() => {
    throw new Problem(0, "The server does not answer. Try again soon.");
  });
  if (answer.status === 204) return undefined;
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  throw new Problem(
    answer.status,
    content.detail ?? content.title ?? `It answered ${answer.status}.`,
  );
}
