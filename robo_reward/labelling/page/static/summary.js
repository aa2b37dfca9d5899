// What all people together have said.

import { el } from "./dom.js";
import { get } from "./server.js";

const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);
const number = (value) => (value === null ? "–" : value.toFixed(2));

/** What a kappa is usually called (Landis and Koch, 1977). */
function called(kappa) {
  if (kappa === null) return "not defined: too few shared answers, or all the same";
  const names = ["poor", "slight", "fair", "moderate", "substantial", "almost perfect"];
  return names[Math.max(0, Math.min(5, Math.ceil(kappa * 5)))];
}

function fact(value, name, note) {
  return el("div", { class: "fact" }, el("b", { text: value }), el("span", { text: name }), note ? el("small", { text: note }) : null);
}

function table(heads, rows) {
  const cell = (tag) => (text, i) => el(tag, { text: String(text), class: i ? "num" : undefined, scope: tag === "th" ? "col" : undefined });
  return el("div", { class: "table-box" }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map(cell("th")))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell("td")))))));
}

function strip(title, clips) {
  return el("section", {}, el("h2", { text: title }), el("div", { class: "strip" }, ...clips.map((clip) => {
    const video = el("video", { src: `clips/${encodeURIComponent(clip.id)}`, preload: "metadata", playsinline: true, loop: true, tabindex: 0, "aria-label": `Clip ${clip.name}` });
    video.muted = true;
    for (const on of ["pointerenter", "focus"]) video.addEventListener(on, () => video.play().catch(() => {}));
    for (const off of ["pointerleave", "blur"]) video.addEventListener(off, () => video.pause());
    return el("figure", {}, video, el("figcaption", {}, el("b", { text: percent(clip.score) }), ` of ${clip.met} · `, el("span", { text: clip.name })));
  })));
}

/** Fills `root`. `note` is a sentence above, `back` what the button does. */
export async function show(root, note, back) {
  const found = await get("summary");
  const many = found.people.length > 1;
  const short = (names) => names.join(" ≻ ");
  const half = Math.min(4, Math.floor(found.ranking.length / 2));
  root.replaceChildren(
    el("div", { class: "head" },
      el("div", {}, el("h1", { text: note.title }), el("p", { text: note.text })),
      el("div", { class: "actions" },
        el("button", { class: "main", onclick: back, text: note.button }),
        el("a", { class: "small", href: "preferences.jsonl", download: "", text: "Download JSONL" }))),
    el("div", { class: "facts" },
      fact(found.answers, found.answers === 1 ? "answer" : "answers", found.people.length === 1 ? "by one person" : `by ${found.people.length} people`),
      fact(percent(found.share), "agreement", many ? `on ${found.shared} pairs that several judged` : "needs two people"),
      fact(number(found.fleiss), "Fleiss’ kappa", many ? called(found.fleiss) : "agreement beyond chance"),
      fact(percent(found.ties), "ties", "of all pairs")),
    ...(found.warnings.length ? [el("ul", { class: "warnings" }, ...found.warnings.map((text) => el("li", { text })))] : []),
    el("section", {}, el("h2", { text: "People" }),
      table(["Name", "Answers", "Ties", "Can’t tell", "Median time"],
        found.people.map((one) => [one.name, one.answers, one.tied, one.skipped, `${one.seconds.toFixed(1)} s`]))),
    ...(found.between.length ? [el("section", {}, el("h2", { text: "Agreement of two annotators" }),
      table(["Annotators", "Shared pairs", "Same verdict", "Cohen’s kappa"],
        found.between.map((one) => [`${one.first} and ${one.second}`, one.pairs, percent(one.share), number(one.kappa)])))] : []),
    ...(found.contradictions.length ? [el("section", {}, el("h2", { text: "Ordered both ways by one person" }),
      table(["Clips", "Who"], found.contradictions.slice(0, 20).map((one) => [one.clips.join(" and "), one.annotator])))] : []),
    ...(found.cycles.length ? [el("section", {}, el("h2", { text: "Cycles in the majority’s preferences" }),
      el("ul", {}, ...found.cycles.slice(0, 10).map((circle) => el("li", { text: short([...circle, circle[0]]) }))))] : []),
    ...(half ? [strip("Most preferred", found.ranking.slice(0, half)), strip("Least preferred", found.ranking.slice(-half).reverse())] : []),
    el("p", { class: "where", text: `Stored in ${found.store}` }),
  );
}
