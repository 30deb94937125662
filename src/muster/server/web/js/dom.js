// Elements made from data. Text is always text: nothing here parses markup.

/**
 * @typedef {string | number | Node | null | undefined | false} Child
 * @typedef {string | number | boolean | null | undefined} Value
 * @typedef {Record<string, Value | EventListener>} Attributes
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element. `onclick` and the like are listeners, all else is an attribute.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Attributes} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else set(element, key, value);
  }
  append(element, children);
  return element;
}

/**
 * Make a glyph from the path of one of `GLYPHS`.
 *
 * @param {keyof typeof GLYPHS} name
 * @returns {SVGSVGElement}
 */
export function glyph(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "glyph");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", GLYPHS[name]);
  svg.append(path);
  return svg;
}

/**
 * Make an element of SVG.
 *
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string>} attributes
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/**
 * Set an attribute, if it is not so already; null and false remove it.
 *
 * @param {Element} element
 * @param {string} key
 * @param {string | number | boolean | null | undefined} value
 */
export function set(element, key, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(key)) element.removeAttribute(key);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(key) !== text) element.setAttribute(key, text);
}

/**
 * Set the text of an element that holds nothing else, if it is not so already.
 *
 * @param {Element} element
 * @param {string | number} value
 */
export function say(element, value) {
  const text = String(value);
  const first = element.firstChild;
  if (first instanceof Text && !first.nextSibling) {
    if (first.data !== text) first.data = text;
  } else if (element.textContent !== text) element.textContent = text;
}

/**
 * Make these the children of an element, in this order, moving as few as can be.
 *
 * @param {Element} parent
 * @param {Element[]} wanted
 */
export function arrange(parent, wanted) {
  const kept = new Set(wanted);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of wanted) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
}

/**
 * @param {Element} element
 * @param {Child[]} children
 */
function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

const GLYPHS = {
  search: "M7 12.2A5.2 5.2 0 1 0 7 1.8a5.2 5.2 0 0 0 0 10.4ZM11 11l3.4 3.4",
  pause: "M5.5 3v10M10.5 3v10",
  play: "M5 3.2v9.6l7.5-4.8z",
  theme: "M8 1.8v12.4A6.2 6.2 0 0 0 8 1.8ZM8 14.2A6.2 6.2 0 0 1 8 1.8",
  keys: "M1.8 4h12.4v8H1.8zM4.4 6.6h.1M8 6.6h.1M11.6 6.6h.1M5.2 9.6h5.6",
  leave: "M6 2.5H2.8v11H6M6.5 8h7M10.8 5.2 13.6 8l-2.8 2.8",
  pin: "M8 1.9l1.9 3.9 4.3.6-3.1 3 .7 4.3L8 11.7l-3.8 2 .7-4.3-3.1-3 4.3-.6z",
  more: "M3.2 8h.1M8 8h.1M12.8 8h.1",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  back: "M10 3 5 8l5 5",
  next: "M6 3l5 5-5 5",
};
