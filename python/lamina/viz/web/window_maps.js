"use strict";
// Numbers as text ----------------------------------------------------------------------------------------------

const signed = (text) => text.replaceAll("-", MINUS);
function shown(v, digits = 4) {
  if (!Number.isFinite(v)) return signed(String(v).replace("Infinity", "\u221e"));
  if (Number.isInteger(v) && Math.abs(v) < 1e6) return signed(String(v === 0 ? 0 : v));
  return signed(Math.abs(v) < 1e-3 ? v.toExponential(digits - 2) : String(Number(v.toPrecision(digits))));
}
const factor = (v) => (v < 0 ? `(${shown(v, 3)})` : shown(v, 3));
const plus = (texts) => texts.join(" + ").replaceAll(`+ ${MINUS}`, `${MINUS} `);

/** How the cells of a map print its numbers: whole ones as they are, others to as many places as fit. */
function printer(values) {
  let greatest = 0, whole = true;
  for (const v of values) {
    if (Number.isFinite(v)) greatest = Math.max(greatest, Math.abs(v));
    whole &&= Number.isInteger(v) || !Number.isFinite(v);
  }
  const places = whole || greatest >= 100 ? 0 : greatest >= 10 ? 1 : 2;
  const print = (v) => (Number.isFinite(v) && !(whole && greatest >= 1e5) ? signed((v === 0 ? 0 : v).toFixed(places)).replace(/^\u2212(0(\.0+)?)$/, "$1") : shown(v));
  let length = 1;
  for (const v of values) length = Math.max(length, print(v).length);
  return { greatest: greatest || 1, print, length };
}
const prints = { x: printer(x.values), w: w && printer(w.values), y: printer((z ?? y).values) };

// Drawing ------------------------------------------------------------------------------------------------------

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "ink", "faint", "line", "edge", "positive", "negative", "mark", "wash", "strong"])
    colours[name] = style.getPropertyValue(`--${name}`).trim();
}

/** Pixels of a cell, so that a map of so many rows and columns fits a box and, if it can, its numbers are legible. */
function cellSize(height, width, box, length) {
  const wanted = Math.max(40, Math.ceil(6.4 * length + 4));
  return Math.max(1, Math.min(wanted, Math.floor(box.height / height), Math.floor(box.width / width)));
}
const fontSize = (cell, length) => Math.min(0.55 * cell, (1.5 * cell) / length, 17);
const legible = (cell, length) => fontSize(cell, length) >= 7;

/** A canvas of so many cells in a figure with a caption; what it shows is said to screen readers by `label`. */
function canvasFor(parent, height, width, cell, label, caption) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas");
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.round((width * cell + 4) * sharp);
  canvas.height = Math.round((height * cell + 4) * sharp);
  canvas.style.width = `${width * cell + 4}px`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  figure.append(canvas);
  if (caption) {
    const text = document.createElement("figcaption");
    text.textContent = caption;
    figure.append(text);
  }
  parent.append(figure);
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  pen.translate(2, 2);
  return { canvas, figure, pen, height, width, cell };
}

/** Draw a map: value(r, c) is a number, or null for a place that takes no part; border(r, c): drawn as border. */
function drawMap({ pen, height, width, cell }, value, format, border = () => false) {
  pen.clearRect(-2, -2, width * cell + 4, height * cell + 4);
  const font = fontSize(cell, format.length), text = legible(cell, format.length);
  pen.font = `${font}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineWidth = cell < 16 ? 0.5 : 1;
  pen.strokeStyle = colours.line;
  for (let r = 0; r < height; r++)
    for (let c = 0; c < width; c++) {
      const v = value(r, c), outer = border(r, c);
      const share = v === null || !(Math.abs(v) > 0) ? 0 : Math.min(1, Math.abs(v) / format.greatest);
      pen.fillStyle = outer ? colours.edge : colours.paper;
      pen.fillRect(c * cell, r * cell, cell, cell);
      pen.fillStyle = `rgba(${v < 0 ? colours.negative : colours.positive}, ${(outer ? 0.45 : 0.82) * share})`;
      pen.fillRect(c * cell, r * cell, cell, cell);
      if (cell >= 6) pen.strokeRect(c * cell, r * cell, cell, cell);
      if (!text || v === null) continue;
      pen.fillStyle = share > 0.75 && !outer ? colours.strong : outer ? colours.faint : colours.ink;
      pen.fillText(format.print(v), (c + 0.5) * cell, (r + 0.54) * cell);
    }
}

/** Outline cells: one box around a window without gaps, else each for itself; small ones are washed over too. */
function outline({ pen, cell }, places, whole, heavy = 3) {
  pen.fillStyle = colours.wash;
  pen.strokeStyle = colours.mark;
  pen.lineWidth = Math.min(heavy, Math.max(1, cell / 4));
  for (const { r, c } of places) {
    if (cell < 10) pen.fillRect(c * cell, r * cell, cell, cell);
    if (!whole) pen.strokeRect(c * cell + 1, r * cell + 1, cell - 2, cell - 2);
  }
  if (!whole) return;
  const r = Math.min(...places.map((p) => p.r)), c = Math.min(...places.map((p) => p.c));
  const height = Math.max(...places.map((p) => p.r)) - r + 1, width = Math.max(...places.map((p) => p.c)) - c + 1;
  pen.strokeRect(c * cell, r * cell, width * cell, height * cell);
}

let inputs = [], kernels = [], outputs = [], zooms = [];

const shownChannels = () => {
  const start = firstChannel(at.o), from = at.page * MOST_CHANNELS;
  return Array.from({ length: Math.min(MOST_CHANNELS, perGroup - from) }, (_, k) => start + from + k);
};
const shownFilters = () => (O <= MOST_FILTERS ? Array.from({ length: O }, (_, o) => o) : [at.o]);

/** Put the maps in place that this filter and these channels want. */
function layOut() {
  const channels = shownChannels(), filters = shownFilters();
  const holders = ["input", "kernels", "output"].map((id) => byId(id).querySelector(".maps"));
  holders.forEach((holder) => holder.replaceChildren());
  const box = { width: 400, height: Math.max(150, 590 / channels.length) - 26 };
  const cell = cellSize(rows, columns, box, prints.x.length);
  inputs = channels.map((k) => ({ k, ...canvasFor(holders[0], rows, columns, cell, `Input, channel ${k}`, `x[:,:,${k}]`) }));
  const zoom = !legible(cell, prints.x.length);
  byId("kernels").hidden = !w && !zoom;
  byId("kernels").querySelector("h2").textContent = w ? (zoom ? "window and filter" : "filters") : "window";
  kernels = [];
  zooms = [];
  const small = zoom ? { width: 32 * KW, height: 32 * KH } : { width: 40 * KW, height: Math.max(60, rows * cell) };
  for (const k of channels) {
    if (zoom) zooms.push({ k, ...canvasFor(holders[1], KH, KW, cellSize(KH, KW, small, prints.x.length), `Window on channel ${k}`, `window of x[:,:,${k}]`) });
    for (const o of w ? filters : []) {
      const found = canvasFor(holders[1], KH, KW, cellSize(KH, KW, small, prints.w.length), `Filter ${o}, channel ${k}`, `w${o}[:,:,${k - firstChannel(o)}]`);
      kernels.push({ o, k, ...found });
    }
  }
  for (const o of b ? filters : []) {
    if (zoom && o === filters[0]) holders[1].append(document.createElement("span"));
    const text = document.createElement("figcaption");
    text.textContent = `b${o} = ${shown(b.values[o])}`;
    holders[1].append(text);
  }
  holders[1].style.gridTemplateColumns = `repeat(${(w ? filters.length : 0) + (zoom ? 1 : 0)}, auto)`;
  holders[1].style.alignItems = channels.length > 1 ? "center" : "start";
  holders[1].style.gridTemplateRows = channels.length > 1 ? `repeat(${channels.length}, minmax(${inputs[0].figure.offsetHeight}px, auto))` : "";
  const space = { width: 310, height: Math.max(150, 560 / filters.length) - 26 };
  const size = cellSize(OH, OW, space, prints.y.length);
  outputs = filters.map((o) => ({ o, ...canvasFor(holders[2], OH, OW, size, `Output, ${one} ${o}`, `${data.curve ? `${data.curve.name}(y)` : "y"}[:,:,${o}]`) }));
  for (const map of outputs) listen(map);
}

/** All output maps, small, as buttons that choose the filter. */
function layOutAll() {
  byId("all").hidden = O <= MOST_FILTERS;
  byId("all").replaceChildren();
  for (let o = 0; o < O && O > MOST_FILTERS; o++) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `${one} ${o}`);
    button.addEventListener("click", () => go(o, at.i, at.j));
    byId("all").append(button);
    const map = canvasFor(button, OH, OW, Math.max(1, Math.floor(52 / Math.max(OH, OW))), "", String(o));
    map.canvas.setAttribute("aria-hidden", "true");
    drawMap(map, (r, c) => output(z ?? y, r, c, o), { ...prints.y, length: 99 });
  }
}

function draw() {
  const found = computed(at.o, at.i, at.j), places = taps(at.i, at.j), whole = DH === 1 && DW === 1;
  const [mt, mb, ml, mr] = data.made;
  const border = (r, c) => r < top_ + mt || r >= top_ + H - mb || c < left + ml || c >= left + W - mr;
  for (const map of inputs) {
    drawMap(map, (r, c) => (takesPart(r, c) ? pixel(r, c, map.k) : null), prints.x, border);
    outline(map, places, whole);
    if (found.winner) outline(map, [found.winner], false, 4);
  }
  for (const map of zooms) {
    const value = (ki, kj) => (takesPart(at.i * SH + ki * DH, at.j * SW + kj * DW) ? pixel(at.i * SH + ki * DH, at.j * SW + kj * DW, map.k) : null);
    drawMap(map, value, prints.x, (ki, kj) => border(at.i * SH + ki * DH, at.j * SW + kj * DW));
    if (found.winner) outline(map, [{ r: (found.winner.r - at.i * SH) / DH, c: (found.winner.c - at.j * SW) / DW }], true, 4);
  }
  for (const map of kernels) {
    drawMap(map, (ki, kj) => weight(map.o, ki, kj, map.k - firstChannel(map.o)), prints.w);
    map.figure.className = map.o === at.o ? "" : "aside";
  }
  for (const map of outputs) {
    drawMap(map, (r, c) => output(z ?? y, r, c, map.o), prints.y);
    if (map.o === at.o) outline(map, [{ r: at.i, c: at.j }], true, 4);
  }
  for (const [o, button] of [...byId("all").children].entries()) button.setAttribute("aria-pressed", String(o === at.o));
  write(found);
}
