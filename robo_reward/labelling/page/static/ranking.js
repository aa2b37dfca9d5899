// Ranking K clips: places from best to worst, each with any number of clips (ties). By number keys, clicks or dragging.

import { el, kbd } from "./dom.js";

export class Ranking {
  /**
   * @param {HTMLElement} tray where the places are shown
   * @param {() => void} changed told after every change
   */
  constructor(tray, changed) {
    this.tray = tray;
    this.changed = changed;
    this.reset(0);
  }

  /** Nothing placed yet, of so many clips. */
  reset(count) {
    this.count = count;
    this.places = Array.from({ length: count }, () => []);
    this.joins = false; // the next clip goes beside the last one placed
    this.draw();
  }

  get placed() {
    return this.places.flat();
  }

  get complete() {
    return this.count > 0 && this.placed.length === this.count;
  }

  /** Groups of clip numbers, best first. */
  get groups() {
    return this.places.filter((place) => place.length).map((place) => [...place]);
  }

  /** Puts clip `i` next: after the last place taken, or beside it. The only one left follows by itself. */
  place(i) {
    if (this.placed.includes(i) || i >= this.count) return;
    const last = this.places.findLastIndex((place) => place.length);
    this.move(i, this.joins && last >= 0 ? last : Math.min(last + 1, this.count - 1), false);
    this.joins = false;
    const left = [...this.places.keys()].filter((clip) => !this.placed.includes(clip));
    if (left.length === 1 && this.count > 1) this.move(left[0], this.places.findLastIndex((p) => p.length) + 1, false);
    this.draw();
  }

  /** Ties: the next clip with the last one placed, or, when all are placed, the last two places with each other. */
  tie() {
    if (this.complete) {
      const groups = this.groups;
      if (groups.length > 1) {
        const [before, last] = groups.splice(-2);
        this.set([...groups, [...before, ...last]]);
      }
    } else {
      this.joins = this.placed.length > 0 && !this.joins;
    }
    this.draw();
  }

  set(groups) {
    this.places = Array.from({ length: this.count }, (_, i) => groups[i] ?? []);
    this.draw();
  }

  move(i, to, draw = true) {
    this.places = this.places.map((place) => place.filter((clip) => clip !== i));
    if (to !== null) this.places[Math.min(to, this.count - 1)].push(i);
    if (draw) this.draw();
  }

  /** Takes the last one placed out again. */
  back() {
    const last = this.places.findLastIndex((place) => place.length);
    if (last >= 0) this.places[last].pop();
    this.joins = false;
    this.draw();
  }

  draw() {
    const name = (at) => (at === 0 ? "Best" : at === this.count - 1 ? "Worst" : `${at + 1}${["nd", "rd"][at - 1] ?? "th"}`);
    const next = this.places.findLastIndex((place) => place.length) + (this.joins ? 0 : 1);
    this.tray.replaceChildren(
      ...this.places.map((place, at) =>
        el(
          "li",
          { "data-place": at, class: !this.complete && at === next ? "next" : undefined },
          el("span", { class: "place", text: name(at) }),
          ...place.map((clip) =>
            el("button", {
              class: "chip",
              "data-clip": clip,
              "aria-label": `Clip ${clip + 1}, place ${at + 1}; press to remove it`,
              text: `${clip + 1}`,
            }),
          ),
        ),
      ),
    );
    this.changed();
  }
}

/** Dragging of anything that carries `data-clip` into places; a press without movement calls `pressed(node)`. */
export function dragging(root, ranking, pressed) {
  let drag = null;
  const under = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-place]");
  root.addEventListener("pointerdown", (event) => {
    const node = event.target.closest("[data-clip]");
    if (!node || event.button || node.closest("[aria-disabled=true]")) return;
    drag = { node, clip: Number(node.dataset.clip), x: event.clientX, y: event.clientY, ghost: null };
  });
  addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (!drag.ghost && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 6) return;
    if (!drag.ghost) {
      drag.ghost = el("div", { class: "ghost" }, kbd(String(drag.clip + 1)));
      document.body.append(drag.ghost);
      document.body.classList.add("dragging");
    }
    event.preventDefault();
    drag.ghost.style.transform = `translate(${event.clientX}px, ${event.clientY}px)`;
    for (const place of root.querySelectorAll(".over")) place.classList.remove("over");
    under(event)?.classList.add("over");
  });
  const end = (event) => {
    if (!drag) return;
    const { node, clip, ghost } = drag;
    drag = null;
    document.body.classList.remove("dragging");
    document.activeElement?.blur(); // keys go to the page again, not to the card
    if (!ghost) {
      if (event.type === "pointerup" && node.contains(event.target)) pressed(node);
      return;
    }
    ghost.remove();
    const place = event.type === "pointerup" ? under(event) : null;
    if (place) ranking.move(clip, Number(place.dataset.place));
    else if (node.classList.contains("chip")) ranking.move(clip, null);
    else ranking.draw();
  };
  addEventListener("pointerup", end);
  addEventListener("pointercancel", end);
  root.addEventListener("dragstart", (event) => event.preventDefault()); // videos would be dragged as files
}
