// Drawings: a line over time or steps, and bars. Each has a sentence for those who cannot see it, and its numbers
// as a table.
import { make, number, table } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";
const HEIGHT = 190, LEFT = 56, RIGHT = 14, TOP = 12, BOTTOM = 26;
const narrow = matchMedia("(max-width: 40rem)");
const widthNow = () => (narrow.matches ? 336 : 560);  // about the pixels it gets, so that its words keep their size

function shape(tag, properties, text = undefined) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Round numbers that span what is drawn: 1, 2 or 5 times a power of ten apart.
export function ticks(low, high, wanted = 4) {
  const rough = (high - low || Math.abs(high) || 1) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const first = Math.floor(low / step), last = Math.ceil(high / step);
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

const short = (value) => (Math.abs(value) >= 10000 ? Number(value).toLocaleString("en", { notation: "compact" }) : number(value, Math.abs(value) < 10 ? 3 : 1));

const frame = (title, sentence, width) => shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${sentence}` });

function yAxis(svg, width, marks, yOf, unit) {
  for (const mark of marks) {
    svg.append(shape("line", { x1: LEFT, x2: width - RIGHT, y1: yOf(mark), y2: yOf(mark), class: "grid" }));
    svg.append(shape("text", { x: LEFT - 6, y: yOf(mark) + 4, "text-anchor": "end" }, `${short(mark)}${unit}`));
  }
}

function figure(title, unit, svg, legend, numbers) {
  return make("figure", {}, make("figcaption", {}, title, unit && make("small", {}, ` (${unit})`)), svg, legend,
    make("details", { "data-key": `numbers of ${title}` }, make("summary", { "data-key": `summary of ${title}` }, "as numbers"), numbers));
}

// Lines: [{ name, points: [[x, y], …], kind }]; x ascends. `labelOf` writes an x.
export function lines(title, series, { unit = "", suffix = "", labelOf = number, xName = "time", fromZero = true, empty = "It is drawn from the second look on, in a few seconds." } = {}) {
  const drawn = series.filter((one) => one.points.length);
  const xs = drawn.flatMap((one) => one.points.map(([x]) => x)), ys = drawn.flatMap((one) => one.points.map(([, y]) => y));
  if (xs.length < 2) return make("figure", {}, make("figcaption", {}, title), make("p", { class: "hint" }, empty));
  const marks = ticks(fromZero ? 0 : Math.min(...ys), Math.max(...ys)), low = marks[0], high = marks.at(-1);
  const width = widthNow(), left = Math.min(...xs), right = Math.max(...xs), span = right - left || 1;
  const xOf = (x) => LEFT + ((width - LEFT - RIGHT) * (x - left)) / span;
  const yOf = (y) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (y - low)) / (high - low || 1);
  const sentence = drawn.map((one) => `${one.name}: ${short(one.points[0][1])}${suffix} at first, ${short(one.points.at(-1)[1])}${suffix} at last`).join("; ");
  const svg = frame(title, sentence, width), middle = Number.isInteger(left + right) ? Math.floor((left + right) / 2) : (left + right) / 2;
  yAxis(svg, width, marks, yOf, suffix);
  for (const [x, anchor] of [[left, "start"], [middle, "middle"], [right, "end"]].filter(([x], place, all) => x !== all[place - 1]?.[0])) {
    svg.append(shape("text", { x: xOf(x), y: HEIGHT - 6, "text-anchor": anchor }, labelOf(x)));
  }
  drawn.forEach((one, place) => {
    const path = one.points.map(([x, y]) => `${xOf(x).toFixed(1)},${yOf(y).toFixed(1)}`).join(" ");
    svg.append(shape("polyline", { points: path, class: `series series-${place}` }));
    if (one.points.length < 12) one.points.forEach(([x, y]) => svg.append(shape("circle", { cx: xOf(x), cy: yOf(y), r: 3, class: `dot series-${place}` })));
  });
  const legend = drawn.length < 2 ? null : make("ul", { class: "legend" }, drawn.map((one, place) => make("li", { class: `key-${place}` }, one.name)));
  const shown = thinned([...new Set(xs)].sort((one, other) => one - other), 20);
  const at = drawn.map((one) => new Map(one.points));
  const numbers = table(title, [xName, ...drawn.map((one) => one.name)], shown.map((x) => [labelOf(x), ...at.map((known) => (known.has(x) ? short(known.get(x)) + suffix : ""))]));
  return figure(title, unit, svg, legend, numbers);
}

function thinned(all, most) {
  const every = Math.ceil(all.length / most);
  return all.filter((_, place) => place % every === 0 || place === all.length - 1);
}

// Bars: one or two series of counts, one upon the other. Labels stand below their bars, or where `areEdges` at the left
// ends of their bins; `mark` is a place between bins, such as a threshold.
export function bars(title, labels, series, { unit = "", xName = "", mark = null, areEdges = false, empty } = {}) {
  const total = series.map((one) => one.values.reduce((sum, value) => sum + value, 0));
  if (!total.some(Boolean)) return make("figure", {}, make("figcaption", {}, title), make("p", { class: "hint" }, empty));
  const heights = labels.map((_, bin) => series.reduce((sum, one) => sum + one.values[bin], 0));
  const marks = ticks(0, Math.max(...heights), 3), high = marks.at(-1), width = widthNow(), slot = (width - LEFT - RIGHT) / labels.length;
  const yOf = (y) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * y) / high;
  const sentence = series.map((one, place) => `${one.name}: ${number(total[place])} in all, most at ${labels[one.values.indexOf(Math.max(...one.values))]}`).join("; ");
  const svg = frame(title, sentence, width);
  yAxis(svg, width, marks, yOf, "");
  const below = labels.map(() => 0);
  series.forEach((one, place) => one.values.forEach((value, bin) => {
    if (value) svg.append(shape("rect", { x: LEFT + slot * (bin + 0.1), width: slot * 0.8, y: yOf(below[bin] + value), height: yOf(0) - yOf(value), class: `bar series-${place}` }));
    below[bin] += value;
  }));
  const every = Math.ceil((labels.length * Math.max(...labels.map((label) => label.length + 2)) * 7) / (width - LEFT - RIGHT));
  labels.forEach((label, bin) => {
    if (bin % every === 0) svg.append(shape("text", { x: LEFT + slot * (bin + (areEdges ? 0 : 0.5)), y: HEIGHT - 6, "text-anchor": "middle" }, label));
  });
  if (mark !== null) {
    const x = LEFT + (width - LEFT - RIGHT) * mark.share;
    svg.append(shape("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM, class: "mark" }));
    svg.append(shape("text", mark.share < 0.7 ? { x: x + 5, y: TOP + 11 } : { x: x - 5, y: TOP + 11, "text-anchor": "end" }, mark.text));
  }
  const legend = series.length < 2 ? null : make("ul", { class: "legend" }, series.map((one, place) => make("li", { class: `key-${place}` }, one.name)));
  const numbers = table(title, [xName, ...series.map((one) => one.name)], labels.map((label, bin) => [label, ...series.map((one) => one.values[bin])]));
  return figure(title, unit, svg, legend, numbers);
}

// A share as a bar beside its number; the number is text, so the bar is for the eye alone.
export function shareBar(share, target = null) {
  const svg = shape("svg", { viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true", class: "share" });
  svg.append(shape("rect", { x: 0, y: 2, width: Math.min(100, 100 * share), height: 8, class: "bar series-0" }));
  if (target !== null) svg.append(shape("line", { x1: 100 * target, x2: 100 * target, y1: 0, y2: 12, class: "mark" }));
  return svg;
}
