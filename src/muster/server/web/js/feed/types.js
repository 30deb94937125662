// What the server's stream says; see docs/monitor-protocol.md.

/**
 * @typedef {{ total: number, [state: string]: number }} Counts
 * @typedef {{
 *   machines: Counts, workers: Counts, jobs: Record<string, number>,
 *   gpus: number, services: Record<string, number>, paused: boolean,
 * }} Fleet
 * @typedef {{ page: number, pages: number, size: number, matched: number, changed: number }} Page
 * @typedef {{ kind: string, gpu: number, state: string, pid?: number, restarts: number }} Program
 * @typedef {{ name: string, version: string, sha256?: string }} Release
 * @typedef {{
 *   state: string, reasons?: string[], gpus: number, host?: string, version?: string,
 *   release?: Release, models?: string[], programs?: Record<string, Program>,
 *   downloads?: { name: string, done: number, size: number }[],
 *   started_at?: number, seen_at?: number,
 * }} Machine
 * @typedef {{
 *   machine: string, gpu: number, state: string, service?: string, models?: string[],
 *   vram_mib?: number, labels?: Record<string, string>, reason?: string,
 *   started_at?: number, seen_at?: number,
 * }} Worker
 * @typedef {{
 *   state: string, worker?: string, attempt?: number, started_at?: number, fraction?: number,
 *   message?: string, changes?: number,
 * }} RunningJob
 * @typedef {{
 *   fleet: Fleet, page?: Page, order: string[], machines: Record<string, Machine>,
 *   workers: Record<string, Worker>, jobs: Record<string, RunningJob>, missing?: string[],
 * }} Document
 * @typedef {{
 *   id: string, at: number, job: string, state: string, worker?: string, attempt?: number,
 *   detail?: string,
 * }} LogEvent
 * @typedef {Record<string, number[]>} Series
 *
 * @typedef {{ type: "snapshot", at: number } & Document} Snapshot
 * @typedef {{ type: "delta", at: number, [part: string]: unknown }} Delta
 * @typedef {{ type: "history", series: Series, whole?: boolean }} History
 * @typedef {{ type: "events", events: LogEvent[], skipped?: number }} Events
 * @typedef {{ type: "hello", protocol: number }} Hello
 * @typedef {{ type: "level", level: string, interval_s: number, words: string }} Level
 * @typedef {{ type: "busy" | "bye", reason: string, retry_s?: number, words: string }} Ending
 * @typedef {{ type: "away", words?: string }} Absence
 * @typedef {Snapshot | Delta | History | Events | Hello | Level | Ending | Absence} Message
 */

/**
 * How the page hears of a view. `heard_at` is when something came last, by this browser's clock.
 *
 * @typedef {"connecting" | "live" | "reduced" | "reconnecting" | "away" | "signed-out"} LinkState
 * @typedef {{ state: LinkState, words: string, heard_at: number }} Link
 */

export {};
