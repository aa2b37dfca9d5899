"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NS = "http://www.w3.org/2000/svg";
  const byId = (id) => document.getElementById(id);
  document.documentElement.classList.add("js");

  const node = (tag, attributes = {}, text) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const shape = (parent, tag, attributes = {}, text) => {
    const made = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  };
  const count = (n) => {
    for (const [size, suffix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(n) >= size) return `${+(n / size).toPrecision(3)} ${suffix}`;
    return String(+n.toPrecision(3));
  };
  const percent = (v) => `${(v > 0 && v < 0.1) || (v > 0.99 && v < 1) ? (100 * v).toFixed(1) : Math.round(100 * v)} %`;
  const number = (v) => (Object.is(v, -0) ? "0" : plain(v).replace("-", "\u2212"));
  const plain = (v) => (v !== 0 && (Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3) ? v.toExponential(1) : String(+v.toPrecision(3)));
  const niceStep = (span, most) => {
    const raw = span / most, power = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw - 1e-12);
  };
  const ticks = (low, high, most) => {
    const step = niceStep(high - low || 1, most), out = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) out.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    return out;
  };
  const rounds = Math.max(1, ...data.curves.map((c) => c.round), ...data.lineage.map((c) => c.round));
  const tone = (round) => (rounds > 1 ? (round - 1) / (rounds - 1) : 1);

  /** A tooltip that never leaves its chart. */
  const tooltip = (box) => {
    const tip = box.appendChild(node("div", { class: "tip", role: "status", hidden: "" }));
    return {
      show(x, y, title, lines) {
        tip.replaceChildren(node("b", {}, title), ...lines.map((line) => node("div", {}, line)));
        tip.hidden = false;
        const left = x + 14 + tip.offsetWidth > box.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
        tip.style.left = `${Math.max(0, Math.min(left, box.clientWidth - tip.offsetWidth))}px`;
        tip.style.top = `${Math.max(0, y - tip.offsetHeight - 10)}px`;
      },
      hide() { tip.hidden = true; },
    };
  };

  /** Draws lines against steps; redraws when its width changes. Returns a handle for the legend. */
  function lineChart(box, options) {
    const { series, format, label, height } = options;
    const hidden = new Set();
    let picked = null, state = null;
    const tip = tooltip(box);
    let svg = null;

    const visible = () => series.filter((s) => !hidden.has(s.id));
    function draw() {
      const W = Math.max(220, box.clientWidth), H = height(W), roomy = options.endLabels && W > 560;
      const m = { t: 10, r: roomy ? 116 : 8, b: 24, l: options.left };
      const xs = series.flatMap((s) => s.x), ys = series.flatMap((s) => s.y).filter((v) => v !== null);
      const x1 = Math.max(1, ...xs);
      let [y0, y1] = options.range ?? [Math.min(...ys, 0), Math.max(...ys, 0)];
      if (y0 === y1) y1 = y0 + 1;
      const X = (v) => m.l + (v / x1) * (W - m.l - m.r), Y = (v) => H - m.b - ((v - y0) / (y1 - y0)) * (H - m.t - m.b);
      svg?.remove();
      svg = shape(box, "svg", { viewBox: `0 0 ${W} ${H}`, role: "img", tabindex: "0", "aria-label": label });
      for (const v of options.range ? [0, 0.25, 0.5, 0.75, 1] : ticks(y0, y1, 3)) {
        shape(svg, "line", { class: v === 0 ? "base" : "grid", x1: m.l, x2: W - m.r, y1: Y(v), y2: Y(v) });
        shape(svg, "text", { x: m.l - 8, y: Y(v) + 4, "text-anchor": "end" }, format(v));
      }
      const marks = W > 320 ? ticks(0, x1, W > 480 ? 6 : 4) : [0, x1];
      for (const v of marks) shape(svg, "text", { x: X(v), y: H - 5, "text-anchor": v === 0 ? "start" : X(v) > W - m.r - 22 ? "end" : "middle" }, v === 0 ? "0 steps" : count(v));
      for (const v of options.rungs ?? []) if (v < x1 * 0.995) shape(svg, "line", { class: "rung", x1: X(v), x2: X(v), y1: m.t, y2: H - m.b });
      const layer = shape(svg, "g", {});
      for (const s of [...visible()].sort((a, b) => a.winner - b.winner || a.round - b.round)) {
        let path = "", pen = "M";
        s.x.forEach((x, i) => { if (s.y[i] === null) { pen = "M"; return; } path += `${pen}${X(x).toFixed(1)} ${Y(s.y[i]).toFixed(1)}`; pen = "L"; });
        const end = s.y.findLastIndex((v) => v !== null);
        if (options.endLabels && end >= 0 && !s.winner) shape(layer, "circle", { class: "stop", cx: X(s.x[end]), cy: Y(s.y[end]), r: 2.75, style: `--t:${tone(s.round)}` });
        s.element = shape(layer, "path", { d: path, class: `curve${s.winner && options.emphasise ? " winner" : ""}`, style: `--t:${tone(s.round ?? 1)}`, "data-id": s.id ?? "" });
      }
      if (roomy) endLabels(svg, visible(), X, Y, H - m.b);
      const cursor = shape(svg, "line", { class: "cursor", y1: m.t, y2: H - m.b, visibility: "hidden" });
      const spot = shape(svg, "circle", { class: "spot", r: 4.5, visibility: "hidden" });
      state = { W, H, X, Y, layer, cursor, spot };
      svg.addEventListener("pointermove", hover);
      svg.addEventListener("pointerdown", hover);
      svg.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") leave(); }); // a finger leaves when it lifts; losing focus ends it
      svg.addEventListener("blur", leave);
      svg.addEventListener("keydown", keys);
    }

    function endLabels(parent, shown, X, Y, bottom) {
      const ends = shown.map((s) => { let i = s.y.length - 1; while (i > 0 && s.y[i] === null) i--; return { s, x: X(s.x[i]), y: Y(s.y[i] ?? 0) }; });
      // Only curves that reach the right edge are labelled there; the others ended at a rung and are named on hover.
      const edge = Math.max(...ends.map((e) => e.x)), kept = ends.filter((e) => e.s.winner || e.x > edge - 12);
      kept.sort((a, b) => b.s.winner - a.s.winner);
      const taken = [];
      for (const e of kept) {
        const y = Math.min(e.y, bottom);
        if (taken.some((t) => Math.abs(t - y) < 14)) continue;
        taken.push(y);
        e.s.end = shape(parent, "text", { class: `end${e.s.winner ? " winner" : ""}`, x: e.x + 8, y: y + 4 }, e.s.name.length > 16 ? `${e.s.name.slice(0, 15)}…` : e.s.name);
      }
    }

    function pick(s, i) {
      picked = { s, i };
      const { X, Y, W, cursor, spot, layer } = state, scale = box.clientWidth / W;
      series.forEach((other) => { other.element?.classList.toggle("on", other === s); other.end?.classList.toggle("on", other === s); });
      layer.classList.toggle("dim", series.length > 1);
      const x = X(s.x[i]), y = Y(s.y[i]);
      cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.setAttribute("visibility", "visible");
      spot.setAttribute("cx", x); spot.setAttribute("cy", y); spot.setAttribute("visibility", "visible");
      spot.setAttribute("class", `spot${s.winner ? " winner" : ""}`);
      tip.show(x * scale, y * scale, s.name, [`${format(s.y[i], true)} at ${count(s.x[i])} steps`]);
    }
    function hover(event) {
      const bounds = svg.getBoundingClientRect(), scale = state.W / bounds.width;
      const px = (event.clientX - bounds.left) * scale, py = (event.clientY - bounds.top) * scale;
      let best = null;
      for (const s of visible()) s.x.forEach((x, i) => {
        if (s.y[i] === null) return;
        const d = ((state.X(x) - px) * (series.length > 1 ? 1 : 6)) ** 2 + (series.length > 1 ? (state.Y(s.y[i]) - py) ** 2 : 0);
        if (!best || d < best.d) best = { d, s, i };
      });
      if (best) pick(best.s, best.i);
    }
    function leave() {
      picked = null; tip.hide();
      state.cursor.setAttribute("visibility", "hidden"); state.spot.setAttribute("visibility", "hidden");
      state.layer.classList.remove("dim");
      series.forEach((s) => { s.element?.classList.remove("on"); s.end?.classList.remove("on"); });
    }
    function keys(event) {
      const shown = visible();
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === "Escape") return leave();
      if (!move || !shown.length) return;
      event.preventDefault();
      // The first key goes to the last point of the winner; later ones move along a curve or to the next curve.
      const s = picked ? shown[(shown.indexOf(picked.s) + move[0] + shown.length) % shown.length] : shown.find((c) => c.winner) ?? shown[0];
      const known = s.y.map((v, i) => (v === null ? -1 : i)).filter((i) => i >= 0);
      if (!known.length) return;
      const at = picked ? known.findIndex((i) => i >= picked.i) : -1;
      pick(s, known[Math.max(0, Math.min((at < 0 ? known.length - 1 : at) + (picked ? move[1] : 0), known.length - 1))]);
    }

    draw();
    let width = box.clientWidth;
    new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; tip.hide(); draw(); } }).observe(box);
    return {
      toggle(id, on) { if (on) hidden.delete(id); else hidden.add(id); series.forEach((s) => { s.element = s.end = null; }); draw(); },
      point(id) { const s = series.find((c) => c.id === id); if (s && !hidden.has(id)) { const i = s.y.findLastIndex((v) => v !== null); if (i >= 0) pick(s, i); } },
      leave,
    };
  }

  function legend(box, chart) {
    const buttons = [];
    const only = box.appendChild(node("button", { type: "button", class: "all" }, "Winner only"));
    if (!data.curves.some((c) => c.winner)) only.hidden = true;
    for (let round = rounds; round >= 1; round--) { // newest first: the winner is usually there
      const members = data.curves.filter((c) => c.round === round);
      if (!members.length) continue;
      if (rounds > 1) box.append(node("p", {}, `Round ${round}`));
      const list = box.appendChild(node("ul"));
      for (const curve of members) {
        const button = node("button", { type: "button", "aria-pressed": "true", class: curve.winner ? "winner" : "", style: `--t:${tone(round)}`, "data-id": curve.id }, curve.name);
        const set = (on) => { button.setAttribute("aria-pressed", String(on)); chart.toggle(curve.id, on); };
        button.addEventListener("click", () => set(button.getAttribute("aria-pressed") !== "true"));
        button.addEventListener("pointerenter", () => chart.point(curve.id));
        button.addEventListener("pointerleave", chart.leave);
        list.appendChild(node("li")).append(button);
        buttons.push({ curve, set });
      }
    }
    let alone = false;
    only.addEventListener("click", () => {
      alone = !alone;
      buttons.forEach(({ curve, set }) => set(!alone || curve.winner));
      only.textContent = alone ? "Show all" : "Winner only";
    });
  }

  /** Candidates as dots, success upwards, one column per round, a line from parent to child. */
  function lineage(box) {
    const tip = tooltip(box), W = 240, H = 190, m = { t: 8, r: 8, b: 22, l: 42 };
    const svg = shape(box, "svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Success of each candidate by round, with lines from parent to child; the numbers are in the table" });
    const Y = (v) => H - m.b - 14 - v * (H - m.t - m.b - 14);
    const column = (W - m.l - m.r) / rounds, places = new Map();
    for (const v of [0, 0.5, 1]) {
      shape(svg, "line", { class: "grid", x1: m.l, x2: W - m.r, y1: Y(v), y2: Y(v) });
      shape(svg, "text", { x: m.l - 6, y: Y(v) + 4, "text-anchor": "end" }, percent(v).replace(" ", "\u2009"));
    }
    for (let round = 1; round <= rounds; round++) {
      const members = data.lineage.filter((c) => c.round === round);
      members.forEach((c, i) => places.set(c.id, { x: m.l + column * (round - 1 + (i + 1) / (members.length + 1)), y: c.y === null ? H - m.b - 3 : Y(c.y) }));
      if (rounds <= 8) shape(svg, "text", { x: m.l + column * (round - 0.5), y: H - 3, "text-anchor": "middle" }, rounds <= 4 ? `round ${round}` : String(round));
    }
    const byLine = [...data.lineage].sort((a, b) => a.line - b.line);
    for (const c of byLine) {
      const to = places.get(c.id), from = places.get(c.parent);
      if (from) shape(svg, "path", { class: `link${c.line ? " line" : ""}`, d: `M${from.x} ${from.y}C${(from.x + to.x) / 2} ${from.y} ${(from.x + to.x) / 2} ${to.y} ${to.x} ${to.y}` });
    }
    for (const c of byLine) {
      const { x, y } = places.get(c.id);
      const dot = shape(svg, "circle", { class: `dot${c.winner ? " winner" : ""}${c.line ? " line" : ""}${c.y === null ? " none" : ""}`, cx: x, cy: y, r: c.winner ? 5.5 : data.lineage.length > 40 ? 3 : 4, style: `--t:${tone(c.round)}` });
      const scale = () => box.clientWidth / W;
      dot.addEventListener("pointerenter", () => tip.show(x * scale(), y * scale(), c.name, [c.y === null ? c.status : `${percent(c.y)} success`]));
      dot.addEventListener("pointerleave", tip.hide);
    }
  }

  function sortable(table) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    const value = (row, column) => row.cells[column].dataset.v ?? "";
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const numeric = head.classList.contains("num") || [...body.rows].every((r) => value(r, column) !== "" && !isNaN(value(r, column)));
      const first = numeric && column > 0 ? "descending" : "ascending", other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const compare = (a, b) => (numeric ? value(a, column) - value(b, column) : value(a, column).localeCompare(value(b, column), undefined, { numeric: true }));
      body.append(...[...body.rows].sort((a, b) => (order === "ascending" ? 1 : -1) * compare(a, b)));
    }));
  }

  function tabs(list) {
    const all = [...list.querySelectorAll("[role=tab]")];
    const select = (tab) => all.forEach((t) => {
      const on = t === tab;
      t.setAttribute("aria-selected", String(on));
      t.tabIndex = on ? 0 : -1;
      byId(t.getAttribute("aria-controls")).hidden = !on;
    });
    all.forEach((tab, i) => {
      tab.addEventListener("click", () => select(tab));
      tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
        const next = all[(i + 1) % all.length];
        select(next);
        next.focus();
      });
    });
    select(all[0]);
  }

  /** iOS does not play mp4 from a data URI; the same bytes as a blob do play. */
  function asBlob(video) {
    const [head, body] = (video.getAttribute("src") ?? "").split(",");
    if (!head.startsWith("data:")) return;
    const bytes = Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  }

  function videos() {
    for (const video of document.querySelectorAll("video")) {
      if (video.error) asBlob(video);
      else video.addEventListener("error", () => asBlob(video), { once: true });
    }
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const apply = () => document.querySelectorAll("video").forEach((video) => {
      video.autoplay = !still.matches;
      if (still.matches) video.pause();
      else video.play().catch(() => {}); // a browser may refuse to start by itself; the controls remain
    });
    still.addEventListener("change", apply);
    apply();
  }

  const chartBox = byId("success-chart");
  if (chartBox) {
    const series = data.curves, lone = series.length === 1;
    const words = `Success rate against training steps, ${lone ? "one curve" : `${series.length} candidates`}. Arrow keys read the points.`;
    const chart = lineChart(chartBox, { series, format: percent, label: words, height: (w) => Math.round(Math.max(240, Math.min(420, w * 0.5))), left: 46, range: [0, 1], rungs: data.rungs, endLabels: !lone, emphasise: true });
    if (byId("legend")) legend(byId("legend"), chart);
  }
  for (const term of data.terms) {
    const figure = byId("term-charts").appendChild(node("figure")), last = term.y.findLast((v) => v !== null);
    const title = figure.appendChild(node("figcaption"));
    title.append(node("b", {}, term.name), node("span", {}, last === undefined ? "no values" : number(last)));
    const box = figure.appendChild(node("div", { class: "chart" }));
    if (last !== undefined) lineChart(box, { series: [{ ...term, winner: false }], format: number, label: `${term.name} against steps, ends at ${number(last)}`, height: () => 130, left: 44 });
  }
  if (byId("lineage")) lineage(byId("lineage"));
  document.querySelectorAll("table.sortable").forEach(sortable);
  document.querySelectorAll("[role=tablist]").forEach(tabs);
  if (document.querySelector("video")) videos();
  const copy = byId("copy");
  if (copy && navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", () => navigator.clipboard.writeText(byId("command").textContent).then(() => { copy.textContent = "Copied"; }, () => { copy.textContent = "Select it"; }));
  }
})();
