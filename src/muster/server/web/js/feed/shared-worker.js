// The pool, in a worker that all tabs share.

import { Pool } from "./pool.js";
import { whenGone } from "./tabs.js";

const pool = new Pool();

addEventListener("connect", (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  if (!port) return;
  port.onmessage = ({ data }) => {
    const { tab, message } = data;
    if (message.type === "hello") whenGone(tab, () => pool.leave(tab));
    else pool.take(tab, message, (answer) => port.postMessage(answer));
  };
});
