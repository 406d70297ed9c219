"use strict";
// The sum as text ----------------------------------------------------------------------------------------------

function element(name, className, text = "") {
  const found = document.createElement(name);
  found.className = className;
  found.textContent = text;
  return found;
}

/** One row for a channel: its terms and what they add up to. */
function row(part, winner) {
  const line = document.createElement("tr"), cell = element("td", "products");
  line.append(element("th", "", `channel\u00a0${part.channel}`), cell);
  part.terms.forEach((t, n) => {
    const text = w ? `${factor(t.x)}${DOT}${factor(t.w)}` : data.rule === "length" ? `${factor(t.x)}\u00b2` : factor(t.x);
    const dull = w && (t.x === 0 || t.w === 0) ? " zero" : "";
    if (n > 0) cell.append(data.rule === "max" ? ", " : " + ");
    cell.append(element("span", t === winner ? "term winner" : `term${dull}`, text));
  });
  if (data.rule !== "max") line.append(element("td", "part", `= ${shown(part.sum)}`));
  return line;
}

function equation(found) {
  if (data.rule === "max") return found.count <= 9 ? `max(${found.parts[0].terms.map((t) => shown(t.x)).join(", ")})` : "max";
  if (data.rule === "mean") return `${shown(found.sum)} / ${found.count}`;
  if (data.rule === "length") return `\u221a${shown(found.sum)}`;
  const texts = found.parts.length <= 8 ? found.parts.map((p) => shown(p.sum)) : [shown(found.sum)];
  if (found.bias !== null) texts.push(`${shown(found.bias)} (bias)`);
  return texts.length > 1 ? plus(texts) : "";
}

function write(found) {
  const channels = shownChannels(), hidden = found.parts.filter((p) => !channels.includes(p.channel));
  byId("terms").replaceChildren(...found.parts.filter((p) => channels.includes(p.channel)).map((p) => row(p, found.winner)));
  if (hidden.length > 0) {
    const line = element("tr", "");
    line.append(element("th", "", `the ${hidden.length} channels not drawn`), element("td", ""));
    line.append(element("td", "part", `= ${shown(hidden.reduce((total, p) => total + p.sum, 0))}`));
    byId("terms").append(line);
  }
  const result = byId("result");
  const sides = [`y[${at.i}, ${at.j}, ${at.o}]`, equation(found), ""].filter((text, n) => text || n === 2);
  result.replaceChildren(sides.join(" = "), element("strong", "", shown(found.value)));
  if (found.activated !== null)
    result.append(`,  ${data.curve.name}(${shown(found.value)}) = `, element("strong", "", shown(found.activated)));
  Object.assign(result.dataset, { row: at.i, column: at.j, map: at.o, value: found.value });
  if (found.activated !== null) result.dataset.activated = found.activated;
  const check = byId("check"), forward = shown(found.forward);
  check.textContent = `The layer's own forward pass gives ${forward}: ${found.agrees ? "the same." : "NOT the same."}`;
  Object.assign(check.dataset, { agrees: found.agrees, forward: found.forward });
}

// Moving -------------------------------------------------------------------------------------------------------

const clamp = (v, low, high) => Math.max(low, Math.min(high, v));

/** Go to output (i, j) of filter o, or the nearest there is. */
function go(o, i, j) {
  const before = at.o;
  Object.assign(at, { o: clamp(o, 0, O - 1), i: clamp(i, 0, OH - 1), j: clamp(j, 0, OW - 1) });
  if (before !== at.o) {
    byId("filter").value = at.o;
    if (O > MOST_FILTERS || perGroup < C) layOut();
    notes();
  }
  draw();
}

/** Go on by so many outputs: along the rows, then from filter to filter, round and round. */
function step(by) {
  const n = (((at.o * OH + at.i) * OW + at.j + by) % (O * OH * OW) + O * OH * OW) % (O * OH * OW);
  go(Math.floor(n / (OH * OW)), Math.floor(n / OW) % OH, n % OW);
}

let timer = null;
function play(on) {
  clearTimeout(timer);
  timer = on ? setTimeout(() => { step(1); play(true); }, 1000 / 2 ** Number(byId("speed").value)) : null;
  byId("play").textContent = on ? "\u23f8" : "\u25b6";
  byId("play").setAttribute("aria-pressed", String(on));
  byId("play").setAttribute("aria-label", on ? "Pause" : "Play");
  byId("result").setAttribute("aria-live", on ? "off" : "polite");
}

/** Pointing at an output, with a mouse or a finger, goes there. */
function listen(map) {
  const point = (event) => {
    const box = map.canvas.getBoundingClientRect(), scale = box.width / (map.width * map.cell + 4);
    const i = Math.floor(((event.clientY - box.top) / scale - 2) / map.cell);
    const j = Math.floor(((event.clientX - box.left) / scale - 2) / map.cell);
    if (i < 0 || j < 0 || i >= OH || j >= OW || (map.o === at.o && i === at.i && j === at.j)) return;
    play(false);
    go(map.o, i, j);
  };
  map.canvas.addEventListener("pointermove", point);
  map.canvas.addEventListener("pointerdown", point);
}

const KEYS = {
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  ArrowDown: () => go(at.o, at.i + 1, at.j),
  ArrowUp: () => go(at.o, at.i - 1, at.j),
  PageDown: () => go(at.o + 1, at.i, at.j),
  PageUp: () => go(at.o - 1, at.i, at.j),
  Home: () => go(0, 0, 0),
  End: () => go(O - 1, OH - 1, OW - 1),
  " ": () => play(timer === null),
};
document.addEventListener("keydown", (event) => {
  const own = event.target.closest?.("select, input") || (event.key === " " && event.target.closest?.("button"));
  if (own || event.ctrlKey || event.altKey || event.metaKey || !KEYS[event.key]) return;
  event.preventDefault();
  if (event.key !== " ") play(false);
  KEYS[event.key]();
});

// The rest of the page -----------------------------------------------------------------------------------------

const size = (...sides) => sides.join(TIMES);
const both = ([a, c]) => (a === c ? String(a) : `${a} down, ${c} across`);

function describe() {
  const name = data.layer.split("(")[0], around = new Set(data.sides).size === 1;
  byId("title").textContent = `${name}: ${size(H - data.made[0] - data.made[1], W - data.made[2] - data.made[3], C)} \u2192 ${size(OH, OW, O)}`;
  const windows = { convolution: `${O} filters of ${size(KH, KW, perGroup)}`, max: `the greatest of ${size(KH, KW)}`,
    mean: `the mean of ${size(KH, KW)}`, length: `the length, \u221a\u03a3x\u00b2, of ${size(KH, KW)}` };
  const parts = [windows[data.rule].replace(/^1 filters/, "1 filter"), `stride ${both(data.stride)}`];
  if (data.sides.some((s) => s > 0)) parts.push(around ? `a border of ${top_}` : `a border of ${top_} above, ${bottom} below, ${left} left, ${right} right`);
  if (DH > 1 || DW > 1) parts.push(`dilation ${both(data.dilation)}`);
  if (w && data.groups > 1) parts.push(`${data.groups} groups`);
  if (data.curve) parts.push(`then ${data.curve.name}`);
  byId("about").textContent = data.border + parts.join(", ");
}

function notes() {
  const found = [], channels = shownChannels();
  if (w && perGroup < C) found.push(`Filter ${at.o} sees ${perGroup === 1 ? `channel ${channels[0]} alone` : `channels ${firstChannel(at.o)} to ${firstChannel(at.o) + perGroup - 1} alone`}.`);
  if (perGroup > MOST_CHANNELS) found.push(`Channels ${channels[0]} to ${channels[channels.length - 1]} of ${C} are drawn; the sum runs over all that the filter sees.`);
  if (!data.counted && data.rule === "max" && (data.sides.some((s) => s > 0) || rows > H || columns > W)) found.push("The border is never chosen.");
  if (!data.counted && data.rule === "mean") found.push("The border counts neither in the sum nor in the divisor.");
  byId("notes").textContent = found.join(" ");
  byId("turn").textContent = O > 1 ? `Page Up and Page Down change the ${one}, ` : "";
}

/** Fill a select with so many options; one that leaves no choice is hidden. */
function choices(id, holder, texts, chosen) {
  byId(holder).hidden = texts.length < 2;
  byId(id).replaceChildren(...texts.map((text, n) => new Option(text, n)));
  byId(id).addEventListener("change", (event) => chosen(Number(event.target.value)));
}

function redraw() {
  readColours();
  layOutAll();
  draw();
}

function start() {
  describe();
  byId("filters").firstChild.textContent = `${one} (of ${O}) `;
  choices("filter", "filters", Array.from({ length: O }, (_, o) => String(o)), (o) => go(o, at.i, at.j));
  const pages = Array.from({ length: Math.ceil(perGroup / MOST_CHANNELS) }, (_, p) => {
    const last = Math.min(perGroup, (p + 1) * MOST_CHANNELS) - 1;
    return `${p * MOST_CHANNELS} to ${last}`;
  });
  choices("page", "pages", pages, (page) => { at.page = page; layOut(); notes(); draw(); });
  const buttons = { first: () => go(0, 0, 0), back: () => step(-1), next: () => step(1), last: () => go(O - 1, OH - 1, OW - 1) };
  for (const [id, action] of Object.entries(buttons)) byId(id).addEventListener("click", () => { play(false); action(); });
  byId("play").addEventListener("click", () => play(timer === null));
  byId("theme").addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  layOut();
  notes();
  redraw();
}
start();
