"use strict";
// Draws what `live_data` computed, at the temperature of the slider; it computes nothing itself.
(() => {
  const data = JSON.parse(document.getElementById("live-data").textContent);
  const $ = (id) => document.getElementById(id);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const nStates = data.colours.length;
  const nStops = data.temperatures.length;
  const { surface, frames, molecules } = data;
  const levels = surface && bytes(surface.levels);
  const stateAt = surface && bytes(surface.states);
  const weights = frames && frames.weights && bytes(frames.weights);
  const flat = surface && surface.extent.length === 1;
  const ABOVE = 254, NOWHERE = 255;
  let stop = data.start, chosen = -1, cursor = [0.5, 0.5], keyed = false;
  let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1], zoom = 1;

  // ---------------------------------------------------------------- words

  const named = (t) => `${Number(t.toPrecision(6))} ${data.units.temperature}`.trim();
  const stateName = (s) => `state ${s}`;
  const population = (s, k = stop) => data.populations.text[k][s];
  const support = (k = stop) => data.support[k];
  const weightOf = (row, k = stop) =>
    10 ** ((weights[k * frames.frame.length + row] / 127 - 1) * frames.decades);

  function whereabouts(row) {
    const t = frames.trajectory[row], file = frames.files[t];
    return `frame ${frames.frame[row]} of ${file || `trajectory ${t}`}`;
  }

  function frameWords(row) {
    const words = [whereabouts(row)];
    if (frames.state[row] >= 0) words.push(stateName(frames.state[row]));
    if (weights) words.push(`weight ${Number(weightOf(row).toPrecision(2))} × the mean at ${named(data.temperatures[stop])}`);
    return words.join(" · ");
  }

  function stateWords(s, k = stop) {
    const words = [stateName(s), `population ${population(s, k)}`];
    if (data.thermodynamics) words.push(`free energy ${data.thermodynamics[k][s][0]} ${data.units.energy}`);
    return [...words, support(k)].filter(Boolean).join(" · ");
  }

  // ---------------------------------------------------------------- canvases

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  const ink = (s) => (data.colours[s] === "#000000" ? colour("text") : data.colours[s]);

  function fresh(canvas, ratio) {
    const width = canvas.clientWidth, height = Math.round(width * ratio);
    const scale = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.clearRect(0, 0, width, height);
    pen.font = "13px system-ui, sans-serif";
    pen.fillStyle = pen.strokeStyle = colour("text");
    pen.lineWidth = 1;
    return [pen, width, height];
  }

  function ticks(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const found = [];
    for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(6)));
    return found;
  }

  function axis(pen, box, x, y, names) {
    const [left, top, right, bottom] = box;
    pen.strokeStyle = pen.fillStyle = colour("text");
    pen.strokeRect(left, top, right - left, bottom - top);
    pen.textAlign = "center"; pen.textBaseline = "top";
    for (const t of ticks(...x, 5)) {
      const at = left + ((t - x[0]) / (x[1] - x[0])) * (right - left);
      pen.fillRect(at, bottom, 1, 4);
      pen.fillText(t, at, bottom + 6);
    }
    pen.fillText(names[0], (left + right) / 2, bottom + 23);
    pen.textAlign = "right"; pen.textBaseline = "middle";
    for (const t of ticks(...y, 5)) {
      const at = bottom - ((t - y[0]) / (y[1] - y[0])) * (bottom - top);
      pen.fillRect(left - 4, at, 4, 1);
      pen.fillText(t, left - 7, at);
    }
    pen.save();
    pen.translate(10, (top + bottom) / 2); pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(names[1], 0, 0);
    pen.restore();
  }

  function shade(pen, kind, x0, x1, y0, y1) {
    if (kind === "supported" || kind === "") return;
    pen.save();
    pen.beginPath(); pen.rect(x0, y0, x1 - x0, y1 - y0); pen.clip();
    pen.fillStyle = colour("shade"); pen.fillRect(x0, y0, x1 - x0, y1 - y0);
    if (kind === "unsupported") {
      pen.strokeStyle = colour("hatch");
      pen.beginPath();
      const tall = y1 - y0;
      for (let x = Math.floor((x0 - tall) / 8) * 8; x < x1; x += 8) {
        pen.moveTo(x, y1); pen.lineTo(x + tall, y0);
      }
      pen.stroke();
    }
    pen.restore();
  }

  // first and last stop of each run of one class
  function alike() {
    const firsts = data.support.map((_, k) => k).filter((k) => !k || data.support[k] !== data.support[k - 1]);
    return firsts.map((k, i) => [k, (firsts[i + 1] ?? nStops) - 1]);
  }

  function shadeAll(pen, place, y0, y1) {
    const T = data.temperatures;
    for (const [k, l] of alike()) {
      const x0 = place(k ? (T[k - 1] + T[k]) / 2 : T[0]);
      const x1 = place(l < nStops - 1 ? (T[l] + T[l + 1]) / 2 : T[l]);
      shade(pen, data.support[k], x0, x1, y0, y1);
    }
  }

  // ---------------------------------------------------------------- the surface

  const surfaceBox = (width, height) => [48, 8, width - 84, height - 42];

  function raster() {
    const n = surface.size, from = stop * n * n;
    const image = new ImageData(n, n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const level = levels[from + i * n + j], at = 4 * ((n - 1 - j) * n + i);
        const rgb = level === ABOVE ? [205, 205, 205] : surface.colours[Math.min(level, ABOVE - 1)];
        image.data.set([...rgb, level === NOWHERE ? 0 : 255], at);
      }
    }
    const picture = document.createElement("canvas");
    picture.width = picture.height = n;
    picture.getContext("2d").putImageData(image, 0, 0);
    return picture;
  }

  function spot(row, box) {
    const [left, top, right, bottom] = box, [x, y] = surface.extent;
    const z = frames.z[row];
    const across = left + ((z[0] - x[0]) / (x[1] - x[0])) * (right - left);
    if (flat) return [across, bottom - 6];
    return [across, bottom - ((z[1] - y[0]) / (y[1] - y[0])) * (bottom - top)];
  }

  function drawSurface() {
    if (!surface) return;
    const [pen, width, height] = fresh($("surface"), 0.82);
    const box = surfaceBox(width, height), [left, top, right, bottom] = box;
    const energy = `free energy (${data.units.energy})`;
    if (surface.withheld[stop]) {
      shade(pen, "unsupported", left, right, top, bottom);
    } else if (flat) {
      drawProfile(pen, box);
    } else {
      pen.imageSmoothingEnabled = true;
      pen.drawImage(raster(), left, top, right - left, bottom - top);
    }
    if (frames && $("dots").checked) drawDots(pen, box);
    if (surface.withheld[stop]) {
      const why = support() === "unsupported" ? "unsupported here" : "outside of temperature_range";
      halo(pen, "withheld:", (left + right) / 2, (top + bottom) / 2 - 10);
      halo(pen, why, (left + right) / 2, (top + bottom) / 2 + 10);
    }
    if (!flat) drawScale(pen, box, energy);
    drawMarks(pen, box);
    axis(pen, box, surface.extent[0], flat ? [0, surface.deepest] : surface.extent[1],
      ["CV 1", flat ? energy : "CV 2"]);
  }

  function drawProfile(pen, [left, top, right, bottom]) {
    const n = surface.size;
    pen.beginPath(); pen.lineWidth = 2; pen.strokeStyle = ink(0);
    let down = false;
    for (let i = 0; i < n; i++) {
      const level = levels[stop * n + i];
      if (level >= ABOVE) { down = false; continue; }
      const at = [left + (i / (n - 1)) * (right - left), bottom - (level / (ABOVE - 1)) * (bottom - top)];
      if (down) pen.lineTo(...at); else pen.moveTo(...at);
      down = true;
    }
    pen.stroke(); pen.lineWidth = 1;
  }

  function drawDots(pen, box) {
    pen.save();
    pen.beginPath(); pen.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]); pen.clip();
    pen.fillStyle = "rgba(255, 255, 255, 0.55)"; pen.strokeStyle = "rgba(0, 0, 0, 0.65)"; pen.lineWidth = 0.6;
    for (let row = 0; row < frames.frame.length; row++) {
      const radius = weights ? Math.min(8, 1.7 * Math.sqrt(weightOf(row))) : 1.7;
      if (radius < 0.25) continue;
      pen.beginPath(); pen.arc(...spot(row, box), radius, 0, 7); pen.fill(); pen.stroke();
    }
    pen.restore();
  }

  function drawScale(pen, [, top, right, bottom], energy) {
    const x = right + 14;
    for (let k = 0; k < ABOVE; k += 2) {
      pen.fillStyle = `rgb(${surface.colours[k]})`;
      const y = bottom - ((k + 2) / ABOVE) * (bottom - top);
      pen.fillRect(x, y, 12, (2 / ABOVE) * (bottom - top) + 1);
    }
    pen.fillStyle = colour("text"); pen.textAlign = "left"; pen.textBaseline = "middle";
    for (const t of ticks(0, surface.deepest, 5)) {
      pen.fillText(t, x + 17, bottom - (t / surface.deepest) * (bottom - top));
    }
    pen.save();
    pen.translate(x + 58, (top + bottom) / 2); pen.rotate(-Math.PI / 2); pen.textAlign = "center";
    pen.fillText(energy, 0, 0);
    pen.restore();
  }

  function halo(pen, text, x, y) {
    pen.textAlign = "center"; pen.textBaseline = "middle"; pen.font = "bold 15px system-ui, sans-serif";
    pen.lineWidth = 4; pen.strokeStyle = "#fff"; pen.strokeText(text, x, y);
    pen.fillStyle = "#000"; pen.fillText(text, x, y);
    pen.font = "13px system-ui, sans-serif"; pen.lineWidth = 1;
  }

  function drawMarks(pen, box) {
    for (const row of frames ? frames.representatives : []) halo(pen, frames.state[row], ...spot(row, box));
    if (chosen >= 0) {
      for (const [width, tone] of [[5, "#fff"], [2.5, "#D55E00"]]) {
        pen.beginPath(); pen.arc(...spot(chosen, box), 9, 0, 7);
        pen.lineWidth = width; pen.strokeStyle = tone; pen.stroke();
      }
      pen.lineWidth = 1;
    }
    if (!keyed) return;
    const x = box[0] + cursor[0] * (box[2] - box[0]), y = box[3] - cursor[1] * (box[3] - box[1]);
    for (const [width, tone] of [[4, "#fff"], [2, "#000"]]) {
      pen.lineWidth = width; pen.strokeStyle = tone; pen.beginPath();
      pen.moveTo(x - 9, y); pen.lineTo(x + 9, y); pen.moveTo(x, y - 9); pen.lineTo(x, y + 9); pen.stroke();
    }
    pen.lineWidth = 1;
  }

  function nearest(x, y, within, box) {
    let best = -1, least = within ** 2;
    for (let row = 0; frames && row < frames.frame.length; row++) {
      const [a, b] = spot(row, box), far = (a - x) ** 2 + (flat ? 0 : (b - y) ** 2);
      if (far < least) { least = far; best = row; }
    }
    return best;
  }

  function surfaceWords(x, y, box) {
    const [left, top, right, bottom] = box, n = surface.size;
    if (x < left || x > right || y < top || y > bottom) return "";
    const i = Math.round(((x - left) / (right - left)) * (n - 1));
    const j = flat ? 0 : Math.round(((bottom - y) / (bottom - top)) * (n - 1));
    const across = flat ? n : n * n, at = flat ? i : i * n + j;
    const level = levels[stop * across + at], words = [];
    if (level === NOWHERE) return surface.withheld[stop] ? "" : "no training frame is here";
    words.push(level === ABOVE ? `here above ${Number(surface.deepest.toPrecision(3))} ${data.units.energy}`
      : `here ${((level / (ABOVE - 1)) * surface.deepest).toPrecision(2)} ${data.units.energy}`);
    words.push(nStates ? stateWords(stateAt[at]) : support());
    return words.join(" · ");
  }

  // ---------------------------------------------------------------- populations

  const curvesBox = (width, height) => [48, 8, width - 14, height - 42];

  function drawCurves() {
    if (!data.populations) { $("curves-panel").hidden = true; return; }
    const [pen, width, height] = fresh($("curves"), 0.82);
    const box = curvesBox(width, height), [left, top, right, bottom] = box, T = data.temperatures;
    const span = T[nStops - 1] - T[0] || 1;
    const across = (t) => left + ((t - T[0]) / span) * (right - left);
    const up = (p) => bottom - Math.min(1, Math.max(0, p)) * (bottom - top);
    shadeAll(pen, across, top, bottom);
    for (let s = 0; s < nStates; s++) drawCurve(pen, s, across, up);
    for (const [t, s, p, e] of data.reference || []) {
      const x = across(t);
      pen.strokeStyle = pen.fillStyle = ink(s);
      pen.beginPath(); pen.arc(x, up(p), 3.5, 0, 7); pen.fill();
      if (e) { pen.beginPath(); pen.moveTo(x, up(p - e)); pen.lineTo(x, up(p + e)); pen.stroke(); }
    }
    pen.fillStyle = colour("text");
    for (const t of data.simulated) {
      const x = across(t);
      pen.beginPath(); pen.moveTo(x - 5, bottom); pen.lineTo(x + 5, bottom); pen.lineTo(x, bottom - 9); pen.fill();
    }
    pen.setLineDash([5, 4]); pen.strokeStyle = colour("text"); pen.lineWidth = 1.5;
    pen.beginPath(); pen.moveTo(across(T[stop]), top); pen.lineTo(across(T[stop]), bottom); pen.stroke();
    pen.setLineDash([]); pen.lineWidth = 1;
    const unit = data.units.temperature ? ` (${data.units.temperature})` : "";
    axis(pen, box, [T[0], T[nStops - 1] > T[0] ? T[nStops - 1] : T[0] + 1], [0, 1], [`temperature${unit}`, "population"]);
  }

  function drawCurve(pen, s, across, up) {
    const { value, error } = data.populations;
    const known = data.temperatures.map((t, k) => k).filter((k) => value[k][s] !== null);
    if (!known.length) return;
    const edge = (k, sign) => [across(data.temperatures[k]), up(value[k][s] + sign * (error[k][s] || 0))];
    pen.fillStyle = ink(s); pen.globalAlpha = 0.25; pen.beginPath();
    known.forEach((k, i) => pen[i ? "lineTo" : "moveTo"](...edge(k, 1)));
    known.slice().reverse().forEach((k) => pen.lineTo(...edge(k, -1)));
    pen.fill(); pen.globalAlpha = 1;
    pen.strokeStyle = ink(s); pen.lineWidth = 2; pen.beginPath();
    known.forEach((k, i) => pen[i ? "lineTo" : "moveTo"](...edge(k, 0)));
    pen.stroke(); pen.lineWidth = 1;
    // its number where it is clear of other curves, and of the frame and the mark of the stop
    const clear = (k) => Math.min(0.15, value[k][s], 1 - value[k][s], Math.abs(k - stop) / nStops, k / nStops, 1 - (k + 1) / nStops,
      ...value[k].map((p, o) => (o === s || p === null ? 1 : Math.abs(p - value[k][s]))));
    const at = known.reduce((a, b) => (clear(b) > clear(a) + 1e-6 ? b : a));
    halo(pen, s, ...edge(at, 0));
    pen.beginPath(); pen.arc(...edge(stop, 0), 4.5, 0, 7); pen.fillStyle = ink(s);
    if (value[stop][s] !== null) pen.fill();
  }

  function stopAt(x, box) {
    const T = data.temperatures, t = T[0] + ((x - box[0]) / (box[2] - box[0])) * (T[nStops - 1] - T[0]);
    return T.reduce((best, value, k) => (Math.abs(value - t) < Math.abs(T[best] - t) ? k : best), 0);
  }

  function curveWords(x, y, box) {
    if (x < box[0] || x > box[2]) return "";
    const k = stopAt(x, box), p = (box[3] - y) / (box[3] - box[1]);
    const off = (s) => Math.abs((data.populations.value[k][s] ?? 9) - p);
    const s = data.colours.reduce((best, _, state) => (off(state) < off(best) ? state : best), 0);
    return `${named(data.temperatures[k])}: ${stateWords(s, k)}`;
  }

  // ---------------------------------------------------------------- the table of states

  function cell(row, text, kind, tag = "td") {
    const made = document.createElement(tag);
    made.textContent = text; made.className = kind;
    if (tag === "th") made.scope = row.parentElement.tagName === "THEAD" ? "col" : "row";
    row.append(made);
    return made;
  }

  function drawTable() {
    if (!data.populations) return;
    const table = $("states"), head = document.createElement("thead"), body = document.createElement("tbody");
    table.replaceChildren(head, body);
    const top = head.insertRow(), { energy, entropy } = data.units;
    cell(top, "State", "text", "th");
    cell(top, "Population", "text", "th");
    const quantities = [`Free energy (${energy})`, `Energy (${energy})`, `Entropy (${entropy})`, `Heat capacity (${entropy})`];
    if (data.thermodynamics) for (const name of quantities) cell(top, name, "number", "th");
    for (let s = 0; s < nStates; s++) {
      const row = body.insertRow();
      const head = cell(row, "", "text", "th"), key = document.createElement("span");
      key.className = "key"; key.style.background = ink(s);
      head.append(key, ` ${s}`);
      const held = cell(row, "", "text"), bar = document.createElement("span");
      const value = data.populations.value[stop][s], error = data.populations.error[stop][s] || 0;
      bar.className = "bar"; bar.setAttribute("aria-hidden", "true");
      for (const [kind, from, to] of [["fill", 0, value], ["whisker", value - error, value + error]]) {
        const part = document.createElement("span"), low = Math.max(0, from), high = Math.min(1, to);
        part.className = kind; part.style.left = `${100 * low}%`; part.style.width = `${100 * Math.max(0, high - low)}%`;
        if (kind === "fill") part.style.background = ink(s);
        bar.append(part);
      }
      held.append(bar, ` ${population(s)}`);
      if (data.thermodynamics) for (const text of data.thermodynamics[stop][s]) cell(row, text, "number");
    }
  }

  // ---------------------------------------------------------------- molecules

  const TONES = { C: [0.5, 0.53, 0.57], N: [0.15, 0.35, 0.85], O: [0.85, 0.2, 0.15], S: [0.85, 0.7, 0.1], P: [0.9, 0.5, 0.1], "": [0.45, 0.6, 0.5] };
  const coordinates = molecules && new DataView(bytes(molecules.xyz).buffer);

  function drawMolecule() {
    if (!molecules || chosen < 0) return;
    const canvas = $("molecule");
    canvas.hidden = false;
    const [pen, width, height] = fresh(canvas, 0.75);
    const n = molecules.elements.length, scale = (zoom * 0.44 * Math.min(width, height)) / molecules.radii[chosen];
    const at = [];
    for (let k = 0; k < n; k++) {
      const [x, y, z] = [0, 1, 2].map((i) => coordinates.getInt16(2 * (3 * (chosen * n + k) + i), true));
      const [a, b, c] = [0, 3, 6].map((i) => turn[i] * x + turn[i + 1] * y + turn[i + 2] * z);
      at.push([width / 2 + a * scale, height / 2 - b * scale, c / molecules.radii[chosen]]);
    }
    const tone = (k, depth) => {
      const light = 0.75 + 0.25 * Math.max(-1, Math.min(1, depth)), rgb = TONES[molecules.elements[k]] || TONES[""];
      return `rgb(${rgb.map((v) => Math.round(255 * Math.min(1, v * light + 0.1 * (1 - light))))})`;
    };
    const parts = [];
    const thick = Math.max(2, Math.min(9, 36 * scale));
    for (const [i, j] of molecules.bonds) {
      const middle = at[i].map((v, axisNumber) => (v + at[j][axisNumber]) / 2);
      parts.push([(at[i][2] + middle[2]) / 2, i, at[i], middle], [(at[j][2] + middle[2]) / 2, j, at[j], middle]);
    }
    const alone = new Set(molecules.elements.map((_, k) => k));
    molecules.bonds.flat().forEach((k) => alone.delete(k));
    for (const k of alone) parts.push([at[k][2], k, at[k], at[k]]);
    parts.sort((a, b) => a[0] - b[0]);
    pen.lineCap = "round";
    for (const [depth, k, from, to] of parts) {
      const wide = thick * (1 + 0.25 * depth) * (from === to ? 1.6 : 1);
      for (const [extra, style] of [[2, colour("paper")], [0, tone(k, depth)]]) {
        pen.lineWidth = wide + extra; pen.strokeStyle = style;
        pen.beginPath(); pen.moveTo(from[0], from[1]); pen.lineTo(to[0] + (from === to ? 0.01 : 0), to[1]); pen.stroke();
      }
    }
  }

  function turned(right, up) {
    const [c, s, d, u] = [Math.cos(right), Math.sin(right), Math.cos(up), Math.sin(up)];
    const by = [c, 0, s, u * s, d, -u * c, -d * s, u, d * c];
    turn = by.map((_, at) => [0, 1, 2].reduce((sum, k) => sum + by[3 * Math.floor(at / 3) + k] * turn[3 * k + (at % 3)], 0));
    drawMolecule();
  }

  // ---------------------------------------------------------------- all together

  function choose(row) {
    if (row < 0) return;
    chosen = row;
    tellPlace();
    drawSurface();
    drawMolecule();
  }

  function tellPlace() {
    if (chosen >= 0) $("place").textContent = frameWords(chosen);
  }

  function show(k) {
    stop = Math.max(0, Math.min(nStops - 1, k));
    const t = named(data.temperatures[stop]), slider = $("temperature");
    slider.value = stop;
    $("here").textContent = t;
    const badge = $("class");
    badge.textContent = support() || data.roles[stop];
    badge.className = `badge ${support()}`;
    const role = { simulated: "simulated", between: "between the simulated temperatures", beyond: "beyond the simulated temperatures" }[data.roles[stop]];
    const rest = data.effective[stop] ? `; ${data.effective[stop]} effective frames` : "";
    $("reason").textContent = support() ? `${named(data.temperatures[stop])}, ${role}: ${support()}, ${data.reasons[stop]}${rest}.` : `${t}, ${role}.`;
    const held = data.colours.map((_, s) => `${stateName(s)} ${population(s)}`);
    slider.setAttribute("aria-valuetext", [t, support(), ...held].filter(Boolean).join(", "));
    $("states-panel").classList.toggle("unsupported", support() === "unsupported");
    tellPlace();
    draw();
  }

  function draw() {
    drawSurface(); drawCurves(); drawTable(); drawMolecule();
    const [pen, width, height] = fresh($("trust"), 0.0001);
    const tall = 8;
    $("trust").style.height = `${tall}px`; $("trust").height = Math.round(tall * (window.devicePixelRatio || 1));
    pen.setTransform(window.devicePixelRatio || 1, 0, 0, window.devicePixelRatio || 1, 0, 0);
    // stops are evenly spaced on the slider, whatever the temperatures between them
    const place = (i) => 8 + (Math.max(0, Math.min(nStops - 1, i)) / Math.max(1, nStops - 1)) * (width - 16);
    for (const [k, l] of alike()) shade(pen, data.support[k], place(k - 0.5), place(l + 0.5), 0, tall);
    for (let k = 0; k < nStops; k++) {
      if (data.simulated.includes(data.temperatures[k])) {
        pen.fillStyle = colour("text"); pen.beginPath();
        pen.moveTo(place(k) - 5, tall); pen.lineTo(place(k) + 5, tall); pen.lineTo(place(k), 0); pen.fill();
      }
    }
  }

  function tell(event, words) {
    const tip = $("tip");
    tip.hidden = !words;
    tip.textContent = words;
    if (!words) return;
    const wide = document.documentElement.clientWidth, beside = event.clientX + 14;
    tip.style.left = `${Math.max(4, Math.min(beside, wide - tip.offsetWidth - 8))}px`;
    tip.style.top = `${event.clientY + 18}px`;
  }

  function within(canvas, boxOf, event) {
    const frame = canvas.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top, boxOf(canvas.clientWidth, canvas.clientHeight)];
  }

  function hoverable(canvas, boxOf, words, click) {
    canvas.addEventListener("pointermove", (event) => tell(event, words(...within(canvas, boxOf, event))));
    canvas.addEventListener("pointerleave", (event) => tell(event, ""));
    canvas.addEventListener("click", (event) => click(...within(canvas, boxOf, event)));
  }

  function listenToSurface() {
    const canvas = $("surface");
    if (!surface) { $("surface-panel").hidden = true; return; }
    if (!frames) $("dots-label").hidden = true;
    hoverable(canvas, surfaceBox, (x, y, box) => {
      const row = $("dots").checked ? nearest(x, y, 5, box) : -1;
      return row >= 0 ? frameWords(row) : surfaceWords(x, y, box);
    }, (x, y, box) => choose(nearest(x, y, Infinity, box)));
    $("dots").addEventListener("change", drawSurface);
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      const box = surfaceBox(canvas.clientWidth, canvas.clientHeight);
      const place = () => [box[0] + cursor[0] * (box[2] - box[0]), box[3] - cursor[1] * (box[3] - box[1])];
      if (step) {
        keyed = true;
        cursor = cursor.map((v, k) => Math.max(0, Math.min(1, v + 0.025 * step[k])));
        canvas.setAttribute("aria-label", `Free-energy surface: ${surfaceWords(...place(), box)}`);
        drawSurface();
      } else if (event.key === "Enter") choose(nearest(...place(), Infinity, box));
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("blur", () => { keyed = false; drawSurface(); });
  }

  function listenToMolecule() {
    const canvas = $("molecule");
    let last = null;
    canvas.addEventListener("pointerdown", (event) => { last = event; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { last = null; });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const [x, y] = [event.clientX - last.clientX, event.clientY - last.clientY];
      last = event;
      turned(x / 90, -y / 90);
    });
    const zoomed = (by) => { zoom = Math.max(0.3, Math.min(6, zoom * by)); drawMolecule(); };
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomed(event.deltaY < 0 ? 1.1 : 0.9); }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, 0.2], ArrowDown: [0, -0.2] }[event.key];
      if (by) turned(...by);
      else if (event.key === "+" || event.key === "-") zoomed(event.key === "+" ? 1.1 : 0.9);
      else return;
      event.preventDefault();
    });
  }

  function listRepresentatives() {
    if (!frames) return;
    $("place-panel").hidden = false;
    for (const row of frames.representatives) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `State ${frames.state[row]}: ${whereabouts(row)}`;
      button.addEventListener("click", () => choose(row));
      $("representatives").append(button);
    }
  }

  const slider = $("temperature");
  slider.max = nStops - 1;
  slider.addEventListener("input", () => show(Number(slider.value)));
  $("colder").addEventListener("click", () => show(stop - 1));
  $("hotter").addEventListener("click", () => show(stop + 1));
  $("control").hidden = nStops < 2;
  listenToSurface();
  listenToMolecule();
  listRepresentatives();
  if (data.populations) {
    hoverable($("curves"), curvesBox, curveWords, (x, y, box) => show(stopAt(x, box)));
  }
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  window.addEventListener("beforeprint", draw);
  show(stop);
  if (frames && frames.representatives.length) choose(frames.representatives[0]);
})();
