// The page: shows queries, takes answers, keeps count.

import { $, el, kbd, median, uuid } from "./dom.js";
import { Outbox } from "./outbox.js";
import { Player, film } from "./player.js";
import { Ranking, dragging } from "./ranking.js";
import { get, pause } from "./server.js";
import { show as showSummary } from "./summary.js";

const AHEAD = 3; // queries loaded in advance
const VERDICTS = {
  left: { text: "Left is better", key: "←" },
  tie: { text: "Equally good", key: "↑" },
  right: { text: "Right is better", key: "→" },
  send: { text: "Send", key: "enter" },
  skip: { text: "Can’t tell", key: "s" },
  undo: { text: "Undo", key: "u" },
};

let state; // what the server said of the session
let name = "";
let current = null; // { query, videos, since, hidden }
let queue = []; // the next ones, loading
let given = []; // { uuid, query, ranking, text }, oldest first
let times = []; // s per answer
let done = 0;
let exhausted = false;
let fetching = false;
let celebrated = false;

const tab = sessionStorage.getItem("tab") ?? uuid().slice(0, 12);
sessionStorage.setItem("tab", tab);
const remembered = `name ${location.pathname}`;
const ranks = () => state.mode !== "pair";
const opened = () => document.querySelector("dialog[open]") !== null;
const onStage = () => !$("stage").hidden && !opened();

const player = new Player((position, running, speed) => {
  if (document.activeElement !== $("scrub")) $("scrub").value = Math.round(1000 * position);
  $("pause").firstChild.textContent = running ? "Pause " : "Play ";
  $("speed").textContent = `${speed}×`;
});

const outbox = new Outbox(
  (waiting, trouble) => {
    $("saved").className = trouble ? "saved trouble" : "saved";
    const these = waiting === 1 ? "1 answer is" : `${waiting} answers are`;
    if (trouble) $("saved").textContent = `${these} kept in this browser until the server answers again (${trouble})`;
    else $("saved").textContent = waiting ? "Saving …" : "All answers saved";
  },
  (message) => toast(`The server rejected an answer: ${message}`, true),
);

const ranking = new Ranking($("tray"), () => {
  if (current) drawVerdicts();
});

// ---- queries in and out

function loaded(query) {
  return { query, videos: query.clips.map(film) };
}

async function refill() {
  if (fetching || exhausted || queue.length >= AHEAD) return;
  fetching = true;
  for (let attempt = 0; queue.length < AHEAD && !exhausted; ) {
    const asked = name;
    const held = [current, ...queue].filter(Boolean).map((one) => one.query.key);
    const sent = outbox.waiting().map((event) => event.key).filter(Boolean);
    try {
      const exclude = [...held, ...sent].join(",");
      const found = await get("queries", { annotator: asked, tab, count: AHEAD - queue.length, exclude });
      if (asked !== name) continue;
      exhausted = found.length === 0;
      const known = new Set([current, ...queue].filter(Boolean).map((one) => one.query.key));
      queue.push(...found.filter((query) => !known.has(query.key)).map(loaded));
      attempt = 0;
      if (!current) advance();
    } catch {
      await pause(attempt++);
    }
  }
  fetching = false;
  if (!current && exhausted && !queue.length) finish();
}

function advance() {
  const next = queue.shift() ?? null;
  if (next) present(next);
  else current = null;
  if (!next && exhausted) finish();
  refill();
}

async function present(next) {
  current = next;
  current.since = null;
  current.hidden = 0;
  $("comment").value = next.text ?? "";
  if (document.activeElement === $("comment")) $("comment").blur();
  drawClips();
  if (await player.show(next.videos)) {
    current.since = performance.now();
    for (const card of $("clips").children) card.classList.toggle("broken", card.querySelector("video").broken === true);
    $("clips").classList.add("ready");
  }
}

function answer(groups, said) {
  if (!current || (current.since === null && groups.length)) return; // unseen clips can only be skipped
  const { query } = current;
  const seconds = Math.max(0, (performance.now() - (current.since ?? performance.now()) - current.hidden) / 1000);
  const event = {
    uuid: uuid(),
    annotator: name,
    clips: query.clips.map((clip) => clip.id),
    ranking: groups.map((group) => group.map((i) => query.clips[i].id)),
    text: $("comment").value.trim(),
    seconds: Math.round(1000 * seconds) / 1000,
    answered: new Date().toISOString(), // by this machine's clock; it may arrive much later
    source: query.source,
    key: query.key,
    speed: player.speed,
    replays: player.replays,
    tab,
  };
  given.push({ uuid: event.uuid, query, text: event.text });
  times.push(seconds);
  done++;
  outbox.put(event);
  toast(said);
  current = null;
  count();
  if (done >= state.target && !celebrated) {
    celebrated = true;
    advance();
    finish();
  } else {
    advance();
  }
}

function undo() {
  const last = given.pop();
  if (!last) {
    toast("There is no answer to undo.");
    return;
  }
  outbox.put({ uuid: uuid(), undoes: last.uuid, annotator: name });
  done = Math.max(0, done - 1);
  times.pop();
  if (current) queue.unshift(current);
  exhausted = false;
  toast("The last answer was undone.");
  count();
  stage();
  present({ ...loaded(last.query), text: last.text });
}

function verdict(what) {
  if (!onStage()) return;
  if (what === "undo") undo();
  else if (what === "skip") answer([], "Can’t tell");
  else if (what === "tie" && (!ranks() || !ranking.placed.length)) answer([[...current?.query.clips.keys() ?? []]], "Equally good");
  else if (what === "tie") ranking.tie();
  else if (what === "send" && ranking.complete) answer(ranking.groups, "Ranking sent");
  else if (what === "left") answer([[0], [1]], "Left is better");
  else if (what === "right") answer([[1], [0]], "Right is better");
}

// ---- what is on the page

function drawClips() {
  const { query, videos } = current;
  $("clips").className = `clips of-${videos.length} ${ranks() ? "ranks" : "pair"}`;
  $("clips").replaceChildren(
    ...videos.map((video, i) => {
      const label = ranks() ? `Place clip ${i + 1} next` : VERDICTS[i ? "right" : "left"].text;
      return el(
        "div",
        { class: "card", role: "button", tabindex: 0, "aria-label": label, "data-clip": ranks() ? i : undefined, "data-key": query.clips[i].id },
        video,
        el("p", { class: "unplayable", text: `${query.clips[i].name} cannot be played by this browser.` }),
        ranks() ? el("span", { class: "badge", text: String(i + 1) }) : null,
      );
    }),
  );
  for (const [i, card] of [...$("clips").children].entries()) {
    const press = () => (ranks() ? ranking.place(i) : verdict(i ? "right" : "left"));
    if (!ranks()) card.addEventListener("click", press);
    card.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === card && !(ranks() && ranking.complete)) {
        event.stopPropagation();
        press();
      }
    });
  }
  $("clips").classList.remove("ready");
  if (ranks()) ranking.reset(videos.length);
  drawVerdicts();
}

function drawVerdicts() {
  const offered = ranks() ? ["tie", "skip", "undo", "send"] : ["left", "tie", "right", "skip", "undo"];
  const tieText = !ranks() ? VERDICTS.tie.text : !ranking.placed.length ? "All equally good" : ranking.complete ? "Last two are equal" : "Equal to the last";
  $("verdicts").replaceChildren(
    ...offered.map((what) => {
      const { text, key } = VERDICTS[what];
      const main = ["left", "tie", "right", "send"].includes(what);
      const off = (what === "send" && !ranking.complete) || (what === "undo" && !given.length);
      return el(
        "button",
        { class: main ? "verdict" : "verdict minor", "data-verdict": what, disabled: off, onclick: () => verdict(what) },
        el("span", { text: what === "tie" ? tieText : text }),
        kbd(key),
      );
    }),
  );
  $("clips").classList.toggle("all-placed", ranks() && ranking.complete);
  for (const [i, card] of [...$("clips").children].entries()) {
    card.classList.toggle("placed", ranks() && ranking.placed.includes(i));
  }
}

function count() {
  const share = Math.min(1, done / state.target);
  $("track").firstElementChild.style.width = `${100 * share}%`;
  $("track").setAttribute("aria-valuemax", state.target);
  $("track").setAttribute("aria-valuenow", done);
  $("count").textContent = `${done} of ${state.target}`;
  const remaining = state.target - done;
  const recent = times.slice(-20);
  if (remaining <= 0) $("left").textContent = "done";
  else if (recent.length < 3) $("left").textContent = "";
  else $("left").textContent = `· ${duration(remaining * median(recent))} left`;
}

function duration(seconds) {
  if (seconds < 60) return "less than a minute";
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `about ${minutes} min` : `about ${Math.round(minutes / 60)} h`;
}

let fading = 0;
function toast(text, bad = false) {
  clearTimeout(fading);
  $("toast").textContent = text;
  $("toast").className = bad ? "bad" : "";
  if (!bad) fading = setTimeout(() => { $("toast").textContent = ""; }, 4000);
}

function stage() {
  $("summary").hidden = true;
  $("stage").hidden = false;
  $("to-summary").setAttribute("aria-pressed", "false");
}

async function summary(note) {
  if (!state) return;
  player.running = false;
  $("stage").hidden = true;
  $("summary").hidden = false;
  $("to-summary").setAttribute("aria-pressed", "true");
  await Promise.race([outbox.flush(), pause(3)]); // what was just said belongs to it, if the server is there
  const back = () => {
    stage();
    if (!current && !queue.length && exhausted) toast("No clips are left to compare.");
    player.running = player.starts();
    refill();
  };
  try {
    await showSummary($("summary"), note, back);
  } catch (error) {
    $("summary").replaceChildren(el("p", { class: "bad", text: `The summary cannot be loaded: ${error.message}` }), el("button", { class: "main", onclick: back, text: "Back" }));
  }
}

function finish() {
  const all = exhausted && !current && !queue.length;
  summary({
    title: `${done} answers. Thank you, ${name}.`,
    text: all ? "You have compared all clips." : "The target is reached; more answers improve the reward.",
    button: all ? "Back" : "Continue",
  });
}

// ---- who, help, keys

async function begin() {
  await outbox.flush(); // what an earlier page could not send comes first: then the server's count is the whole truth
  state = await patiently(() => get("state", { annotator: name }));
  const known = state.annotator || recall();
  if (!name && known) {
    name = known;
    state = await patiently(() => get("state", { annotator: name }));
  }
  document.title = `${state.title} · robo-reward`;
  $("title").textContent = state.title;
  $("question").textContent = state.instructions;
  $("tray").hidden = !ranks();
  drawHelp();
  if (!name) {
    askName();
    return;
  }
  $("who").textContent = name;
  done = state.done;
  celebrated = done >= state.target;
  given = state.recent;
  times = [...state.times];
  [current, queue, exhausted] = [null, [], false];
  count();
  stage();
  refill();
}

function recall() {
  try {
    return localStorage.getItem(remembered) ?? "";
  } catch {
    return ""; // no storage: the page asks
  }
}

async function patiently(ask) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      toast(`The server does not answer: ${error.message}`, true);
      await pause(attempt);
      toast("");
    }
  }
}

function askName() {
  $("name").value = name;
  $("people").replaceChildren(
    ...state.people.slice(0, 12).map((one) => el("button", { type: "button", class: "small", text: one, onclick: () => { $("name").value = one; $("name-ok").click(); } })),
  );
  if (!opened()) $("name-dialog").showModal();
}

$("name-dialog").addEventListener("close", () => {
  const typed = $("name").value.trim();
  if (!typed && !name) {
    askName();
    return;
  }
  if (typed && typed !== name) {
    name = typed;
    history.replaceState(null, "", `?${new URLSearchParams({ annotator: name })}`); // for a reload
    try {
      localStorage.setItem(remembered, name);
    } catch { /* asked again next time */ }
    begin();
  }
});

function drawHelp() {
  const pair = [["←", "the left clip is better"], ["→", "the right clip is better"], ["↑", "they are equally good"]];
  const rank = [[`1 … ${state.k}`, "places a clip next, from best to worst (or click or drag it)"], ["= or ↑", "the next clip is as good as the last one placed"], ["↑", "before any is placed: all are equally good"], ["backspace", "takes the last one out"], ["enter", "sends the ranking"]];
  const both = [["s", "can’t tell"], ["u", "undoes the last answer"], ["space", "plays from the start"], ["p", "pauses or continues"], ["+ −", "speed"], ["c", "comment"], ["?", "this list"]];
  $("keys").replaceChildren(...[...(ranks() ? rank : pair), ...both].flatMap(([key, text]) => [el("dt", {}, kbd(key)), el("dd", { text })]));
  const left = state.refused.map((one) => `${one.name} (${one.reason})`);
  $("refused").textContent = left.length ? `Left out: ${left.join("; ")}.` : "";
}

const KEYS = {
  ArrowLeft: () => ranks() || verdict("left"),
  ArrowRight: () => ranks() || verdict("right"),
  ArrowUp: () => verdict("tie"),
  Enter: () => ranks() && verdict("send"),
  Backspace: () => ranks() && ranking.back(),
  s: () => verdict("skip"),
  u: () => verdict("undo"),
  " ": () => player.replay(),
  p: () => player.toggle(),
  c: () => $("comment").focus(),
  "+": () => player.faster(1),
  "-": () => player.faster(-1),
  "=": () => (ranks() ? verdict("tie") : player.faster(1)),
};

addEventListener("keydown", (event) => {
  if (!state || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("input[type=text]")) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "comment")) event.target.blur();
    return;
  }
  if (event.key === "Escape" && !$("summary").hidden) $("summary").querySelector("button.main")?.click();
  if (event.key === "?") $("help-dialog").open || $("help-dialog").showModal();
  if (!onStage()) return;
  const digit = /^[1-9]$/.test(event.key) && ranks();
  const act = digit ? () => ranking.place(Number(event.key) - 1) : KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

$("replay").addEventListener("click", () => player.replay());
$("pause").addEventListener("click", () => player.toggle());
$("slower").addEventListener("click", () => player.faster(-1));
$("faster").addEventListener("click", () => player.faster(1));
$("scrub").addEventListener("input", () => {
  player.running = false;
  player.seek((player.length * $("scrub").value) / 1000);
});
$("scrub").addEventListener("change", () => $("scrub").blur());
$("who").addEventListener("click", () => state && askName());
$("to-help").addEventListener("click", () => $("help-dialog").showModal());
$("to-summary").addEventListener("click", () => {
  if ($("summary").hidden) summary({ title: "So far", text: state.instructions, button: "Back to the clips" });
  else $("summary").querySelector("button.main")?.click();
});
document.addEventListener("click", (event) => {
  // A pressed button must not take the next space or enter for itself.
  if (event.detail && event.target.closest("#stage button, .bar button")) document.activeElement.blur();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenSince = performance.now();
  else if (current) current.hidden += performance.now() - hiddenSince;
});
let hiddenSince = 0;
dragging($("stage"), ranking, (node) => {
  if (node.classList.contains("chip")) ranking.move(Number(node.dataset.clip), null);
  else ranking.place(Number(node.dataset.clip));
});

name = new URLSearchParams(location.search).get("annotator")?.trim().slice(0, 64) ?? "";
begin();
