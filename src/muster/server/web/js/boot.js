// Starts the page; tries again if a part of it did not arrive, as when the server is restarted.

import { theme, useTheme } from "./theme.js";

const AGAIN_MS = 1_000;

useTheme(theme()); // before anything is painted
import("./main.js").then(
  ({ start }) => start(),
  () => setTimeout(() => location.reload(), AGAIN_MS * (1 + Math.random())),
);
