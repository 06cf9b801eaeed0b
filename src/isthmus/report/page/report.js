"use strict";
(() => {
const $ = (s, root = document) => root.querySelector(s);
const $$ = (s, root = document) => [...root.querySelectorAll(s)];
const data = JSON.parse($("#payload").textContent);
const { words, rows } = data;
const say = (text) => { $("#status").textContent = text; };
const fill = (text, values) => text.replace(/%\((\w+)\)s/g, (_, k) => values[k]).replace(/%%/g, "%");
const el = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) if (v !== null && v !== undefined) node.setAttribute(k, v);
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
};

/* Theme: the system's, until a reader chooses. */
const theme = $("#theme");
theme.hidden = false;
theme.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

/* Tables: sort by a column, copy as CSV, save as CSV. */
const guarded = (text) => /^\s*[=+\-@\t\r]/.test(text) && !/^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/.test(text) ? "'" + text : text;
const quoted = (text) => { const t = guarded(text); return /[",\n]/.test(t) ? `"${t.replaceAll('"', '""')}"` : t; };
const csvOf = (table) => $$("tr", table).map((tr) =>
  [...tr.cells].map((c) => quoted((c.dataset.csv ?? c.innerText ?? c.textContent).replace(/\s+/g, " ").trim())).join(",")).join("\n") + "\n";
const copy = async (text) => {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = el("textarea", { "aria-hidden": "true", class: "visually-hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(words.copied);
};
const save = (text, name) => {
  const link = el("a", { href: URL.createObjectURL(new Blob(["\ufeff" + text], { type: "text/csv" })), download: name + ".csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const button = (text, act, attributes = {}) => {
  const b = el("button", { type: "button", ...attributes }, text);
  b.addEventListener("click", act);
  return b;
};
for (const table of $$("table.data")) {
  const heads = [...table.tHead.rows[0].cells];
  for (const th of heads) th.dataset.csv = th.textContent;
  heads.forEach((th, k) => {
    const b = el("button", { type: "button" }, th.textContent);
    th.replaceChildren(b);
    b.addEventListener("click", () => {
      const up = th.getAttribute("aria-sort") !== "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const key = (tr) => tr.cells[k].dataset.key ?? tr.cells[k].textContent;
      const numeric = [...body.rows].every((tr) => key(tr).trim() !== "" && isFinite(Number(key(tr))));
      const order = [...body.rows].sort((a, b2) => numeric ? Number(key(a)) - Number(key(b2))
        : key(a).localeCompare(key(b2), undefined, { numeric: true }));
      body.append(...(up ? order : order.reverse()));
      say(fill(words.sorted, { column: b.textContent }));
    });
  });
  const caption = table.caption ? table.caption.textContent : "";
  const tools = el("div", { class: "tools" },
    button(words.copy, () => copy(csvOf(table)), { "aria-label": `${words.copy}: ${caption}` }),
    button(words.save, () => save(csvOf(table), table.dataset.name), { "aria-label": `${words.save}: ${caption}` }));
  table.closest(".scroll").after(tools);
}
for (const b of $$(".copy")) {
  b.hidden = false;
  b.addEventListener("click", () => copy($("#" + b.dataset.copy).textContent));
}

/* Cards of samples. */
const percent = (x) => `${Math.round(100 * x)} %`;
const shown = (x) => typeof x === "number" ? String(Number(x.toPrecision(4))) : x;
const card = (i) => {
  const box = el("div", { class: "card" });
  const raw = data.media[i];
  const label = fill(words.sample, { id: rows.id[i] });
  if (raw && data.modality === "image") box.append(el("img", { src: `data:${data.type};base64,${raw}`, alt: label }));
  if (raw && data.modality === "audio") box.append(el("audio", { controls: "", preload: "none", src: `data:${data.type};base64,${raw}`, "aria-label": label }));
  if (rows.text) box.append(el("p", { class: "snippet" }, rows.text[i]));
  if (rows.values) {
    const list = el("dl", { class: "cells" });
    rows.columns.forEach((c, k) => list.append(el("div", {}, el("dt", {}, c), el("dd", {}, rows.values[i][k] || "–"))));
    box.append(list);
  }
  const answer = el("p", { class: "answer" });
  const pair = (word, value, wrong) => answer.append(el("span", { class: "pair" }, word + " ", el("b", wrong ? { class: "wrong" } : {}, shown(value))), " ");
  if (rows.truth[i] !== null) pair(words.truth, rows.truth[i], false);
  if (rows.prediction[i] !== null) pair(words.predicted, rows.prediction[i], rows.right[i] === false);
  if (rows.confidence[i] !== null) answer.append(el("span", { class: "pair" }, percent(rows.confidence[i])));
  box.append(answer, el("p", { class: "id" }, `${data.parts[rows.part[i]]} · ${rows.id[i]}`));
  return box;
};
const PAGE = 24;
const wide = rows.text || rows.values || data.modality === "audio";
const list = (panel, title, chosen, total) => {
  panel.hidden = false;
  const cards = el("ul", { class: "cards" + (wide ? " wide" : "") });
  let at = 0;
  const next = () => {
    for (const i of chosen.slice(at, at + PAGE)) cards.append(el("li", {}, card(i)));
    at += PAGE;
    more.hidden = at >= chosen.length;
  };
  const more = button(words.more, next);
  const heading = el("h4", {}, title);
  const note = total > chosen.length
    ? el("p", { class: "muted" }, fill(words.kept, { n: chosen.length, of: total })) : null;
  const tools = el("div", { class: "tools" }, button(words.copyRows, () => copy(csvRows(chosen))),
    button(words.saveRows, () => save(csvRows(chosen), "rows")));
  panel.replaceChildren(heading, ...(note ? [note] : []), ...(chosen.length ? [tools, cards, more] : [el("p", {}, words.none)]));
  next();
  say(title);
};
const csvRows = (chosen) => {
  const head = ["id", "part", "truth", "prediction", "confidence", ...(rows.text ? ["text"] : []), ...(rows.columns || [])];
  const line = (i) => [rows.id[i], data.parts[rows.part[i]], rows.truth[i] ?? "", rows.prediction[i] ?? "", rows.confidence[i] ?? "",
    ...(rows.text ? [rows.text[i]] : []), ...(rows.values ? rows.values[i] : [])];
  return [head, ...chosen.map(line)].map((r) => r.map((c) => quoted(String(c))).join(",")).join("\n") + "\n";
};
const all = rows.id.map((_, i) => i);
const sure = (i) => rows.confidence[i] ?? 0;

/* Confusion cells. */
const matrix = $("#confusion");
if (matrix) matrix.addEventListener("click", (event) => {
  const b = event.target.closest("button");
  if (!b) return;
  $$("button", matrix).forEach((x) => x.removeAttribute("aria-expanded"));
  b.setAttribute("aria-expanded", "true");
  const { truth, predicted } = b.dataset;
  const chosen = all.filter((i) => rows.scored[i] && rows.truth[i] === truth && rows.prediction[i] === predicted)
    .sort((a, c) => sure(c) - sure(a));
  const panel = $("#cell-panel");
  list(panel, fill(words.cell, { truth, predicted }), chosen, Number(b.textContent));
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "nearest" });
});

/* Browser of the scored rows. */
const form = $("#browser");
if (form) {
  form.hidden = false;
  const value = (name) => form.elements[name] ? form.elements[name].value : "";
  const show = () => {
    const find = value("find").toLowerCase();
    const chosen = all.filter((i) => rows.scored[i]
      && (value("what") === "all" || rows.right[i] === (value("what") === "right"))
      && (!value("truth") || rows.truth[i] === value("truth"))
      && (!value("predicted") || rows.prediction[i] === value("predicted"))
      && (!find || rows.id[i].toLowerCase().includes(find) || (rows.text && rows.text[i].toLowerCase().includes(find))
        || (rows.values && rows.values[i].some((v) => v.toLowerCase().includes(find)))));
    const turn = value("order") === "doubt" ? -1 : 1;
    if (data.task === "regression") chosen.sort((a, b) => Math.abs(rows.truth[b] - rows.prediction[b]) - Math.abs(rows.truth[a] - rows.prediction[a]));
    else chosen.sort((a, b) => turn * (sure(b) - sure(a)));
    const whole = value("what") === "all" && !value("truth") && !value("predicted") && !find;
    list($("#browser-panel"), fill(words.found, { n: chosen.length }), chosen, whole ? data.scored : undefined);
  };
  form.addEventListener("submit", (e) => e.preventDefault());
  form.addEventListener("input", show);
}

/* Map: lasso by pointer, circle by keyboard. */
const controls = $("#map-controls");
if (controls) {
  controls.hidden = false;
  const boxes = $$(".mapbox");
  const which = () => Number(($("input[name=which]:checked") || { value: 0 }).value);
  const update = () => {
    boxes.forEach((b, k) => { b.hidden = k !== which(); });
    const byClass = ($("input[name=colour]:checked") || {}).value === "class";
    const only = $("#highlight") ? $("#highlight").value : "";
    boxes.forEach((b) => {
      b.classList.toggle("bycls", byClass);
      $("svg.map", b).classList.toggle("byclass", byClass);
      $$(".pt", b).forEach((p) => p.classList.toggle("dim", only !== "" && p.dataset.class !== only));
    });
  };
  controls.addEventListener("change", update);
  update();
  const panel = $("#map-panel");
  const choose = (k, inside) => {
    const { rows: mapped, xy } = data.maps[k];
    const chosen = mapped.filter((i, n) => inside(xy[2 * n], xy[2 * n + 1]));
    const counts = data.parts.map((name, p) => [name, chosen.filter((i) => rows.part[i] === p).length]).filter(([, n]) => n);
    list(panel, fill(words.chosen, { n: chosen.length }) + (counts.length ? " · " + counts.map(([name, n]) => `${name} ${n}`).join(", ") : ""), chosen);
  };
  boxes.forEach((box, k) => {
    const svg = $("svg.map", box), lasso = $(".lasso", svg), cursor = $(".cursor", svg);
    const size = svg.viewBox.baseVal;
    const mapCsv = () => {
      const { rows: mapped, xy } = data.maps[k];
      return ("id,part,truth,prediction,x,y\n" + mapped.map((i, n) => [rows.id[i], data.parts[rows.part[i]], rows.truth[i] ?? "", rows.prediction[i] ?? "", xy[2 * n], xy[2 * n + 1]].map((c) => quoted(String(c))).join(",")).join("\n") + "\n");
    };
    for (const [name, act] of [[".map-csv", () => copy(mapCsv())], [".map-save", () => save(mapCsv(), `map-${data.maps[k].name}`)]]) {
      const b = $(name, box);
      b.hidden = false;
      b.addEventListener("click", act);
    }
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "application");
    svg.setAttribute("aria-roledescription", words.mapRole);
    let path = null;
    const place = (e) => {
      const r = svg.getBoundingClientRect();
      return [(e.clientX - r.left) * size.width / r.width, (e.clientY - r.top) * size.height / r.height];
    };
    const draw = () => lasso.setAttribute("d", path && path.length > 1 ? "M" + path.map((p) => p.map((x) => x.toFixed(1)).join(" ")).join("L") + "Z" : "");
    svg.addEventListener("pointerdown", (e) => {
      if (e.button) return;
      path = [place(e)];
      svg.setPointerCapture(e.pointerId);
      cursor.setAttribute("r", 0);
    });
    svg.addEventListener("pointermove", (e) => { if (path) { path.push(place(e)); draw(); } });
    svg.addEventListener("pointercancel", () => { path = null; lasso.setAttribute("d", ""); });
    svg.addEventListener("pointerup", () => {
      const drawn = path;
      path = null;
      if (!drawn || drawn.length < 4) { lasso.setAttribute("d", ""); return; }
      choose(k, (x, y) => {
        let odd = false;
        for (let a = 0, b = drawn.length - 1; a < drawn.length; b = a++) {
          const [xa, ya] = drawn[a], [xb, yb] = drawn[b];
          if ((ya > y) !== (yb > y) && x < (xb - xa) * (y - ya) / (yb - ya) + xa) odd = !odd;
        }
        return odd;
      });
    });
    let at = [size.width / 2, size.height / 2], radius = 40;
    const mark = () => { cursor.setAttribute("cx", at[0]); cursor.setAttribute("cy", at[1]); cursor.setAttribute("r", radius); };
    svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) mark(); });
    svg.addEventListener("blur", () => cursor.setAttribute("r", 0));
    svg.addEventListener("keydown", (e) => {
      const step = e.shiftKey ? 40 : 12;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (moves[e.key]) at = at.map((x, d) => Math.min(Math.max(x + moves[e.key][d], 0), d ? size.height : size.width));
      else if (e.key === "+" || e.key === "=") radius = Math.min(radius + 8, 300);
      else if (e.key === "-") radius = Math.max(radius - 8, 8);
      else if (e.key === "Enter") {
        lasso.setAttribute("d", "");
        choose(k, (x, y) => (x - at[0]) ** 2 + (y - at[1]) ** 2 <= radius ** 2);
      } else return;
      e.preventDefault();
      mark();
    });
  });
}
})();
