"use strict";
// State: filter o (for pooling: channel), row i and column j of the output. Maps are drawn on canvases; the sum is text.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const at = { o: 0, i: 0, j: 0, page: 0 };
const MOST_CHANNELS = 3, MOST_FILTERS = 3; // that are drawn at a time
const MINUS = "\u2212", TIMES = "\u00d7", DOT = "\u00b7";

// Arrays -------------------------------------------------------------------------------------------------------

/** Shape and values of an array that Python packed, or null. */
function unpacked(array) {
  if (array === null) return null;
  const bytes = Uint8Array.from(atob(array.base64), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer), size = array.bits / 8;
  const values = new Float64Array(bytes.length / size);
  for (let n = 0; n < values.length; n++)
    values[n] = size === 4 ? view.getFloat32(4 * n, true) : view.getFloat64(8 * n, true);
  return { shape: array.shape, values };
}

const x = unpacked(data.x), w = unpacked(data.w), b = unpacked(data.b), y = unpacked(data.y), z = unpacked(data.z);
const [H, W, C] = x.shape, [OH, OW, O] = y.shape;
const [KH, KW] = data.kernel, [top_, bottom, left, right] = data.sides;
const [SH, SW] = data.stride, [DH, DW] = data.dilation;
const perGroup = C / data.groups; // channels that one filter sees
const rows = Math.max(H + top_ + bottom, (OH - 1) * SH + (KH - 1) * DH + 1);
const columns = Math.max(W + left + right, (OW - 1) * SW + (KW - 1) * DW + 1);
const one = w === null ? "channel" : "filter";

const inside = (r, c) => r >= top_ && r < top_ + H && c >= left && c < left + W;
const pixel = (r, c, k) => (inside(r, c) ? x.values[((r - top_) * W + c - left) * C + k] : 0);
const weight = (o, ki, kj, k) => w.values[((o * KH + ki) * KW + kj) * perGroup + k];
const output = (map, i, j, o) => map.values[(i * OW + j) * O + o];
const firstChannel = (o) => Math.floor(o / (O / data.groups)) * perGroup;

/** Whether a place takes part: borders may not, nor does what a window of ceil_mode reaches beyond them. */
const takesPart = (r, c) => inside(r, c) || (data.counted && r < H + top_ + bottom && c < W + left + right);

// The sum ------------------------------------------------------------------------------------------------------

/** The taps of the window at output (i, j): places in the bordered input, in the order of the filter. */
function taps(i, j) {
  const found = [];
  for (let ki = 0; ki < KH; ki++)
    for (let kj = 0; kj < KW; kj++) {
      const r = i * SH + ki * DH, c = j * SW + kj * DW;
      if (takesPart(r, c)) found.push({ ki, kj, r, c });
    }
  return found;
}

const CURVES = {
  ReLU: (v) => (v <= 0 ? 0 : v), // NaN stays NaN
  LeakyReLU: (v, slope) => (v > 0 ? v : slope * v),
  ELU: (v, alpha) => (v > 0 ? v : alpha * Math.expm1(v)),
  Sigmoid: (v) => 1 / (1 + Math.exp(-v)),
  Tanh: (v) => Math.tanh(v),
  SiLU: (v) => v / (1 + Math.exp(-v)),
  Softplus: (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))),
};

/** What output (i, j) of filter o is, from its window: the parts, the value and how far rounding may move it. */
function computed(o, i, j) {
  const places = taps(i, j), start = firstChannel(o), parts = [];
  let sum = 0, size = 0, value, winner = null;
  for (let k = 0; k < perGroup; k++) {
    const terms = places.map(({ ki, kj, r, c }) => ({ x: pixel(r, c, start + k), w: w ? weight(o, ki, kj, k) : null, r, c }));
    const products = terms.map((t) => (w ? t.x * t.w : data.rule === "length" ? t.x * t.x : t.x));
    const part = products.reduce((total, p) => total + p, 0);
    sum += part;
    size += products.reduce((total, p) => total + Math.abs(p), 0);
    parts.push({ channel: start + k, terms, sum: part });
  }
  const bias = b ? b.values[o] : null;
  let tolerance = 2 * data.epsilon * (places.length * perGroup + 2) * (size + Math.abs(bias ?? 0));
  if (data.rule === "max") {
    winner = parts[0].terms.reduce((best, t) => (t.x > best.x || (t.x !== t.x && best.x === best.x) ? t : best));
    value = winner.x;
    tolerance = 0;
  } else if (data.rule === "mean") {
    value = sum / places.length;
    tolerance /= places.length;
  } else if (data.rule === "length") {
    value = Math.sqrt(sum);
    tolerance = sum > 0 ? tolerance / value : 0;
  } else value = sum + (bias ?? 0);
  let activated = null;
  if (data.curve) {
    activated = CURVES[data.curve.name](value, data.curve.value);
    tolerance = tolerance * Math.max(1.2, data.curve.value ?? 0) + 8 * data.epsilon * (Math.abs(activated) + Math.abs(value));
  }
  const forward = output(z ?? y, i, j, o), ours = activated ?? value;
  const agrees = Object.is(ours, forward) || ours === forward || Math.abs(ours - forward) <= tolerance;
  return { parts, sum, bias, value, activated, winner, count: places.length, forward, agrees };
}
