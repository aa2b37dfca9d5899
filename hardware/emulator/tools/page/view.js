// The live view. Addresses are relative: the page lives below its token.

const $ = (id) => document.getElementById(id);
const SWITCHES = {
  user_stop: "User stop", guiding: "Guiding button", gripper_failure: "Gripper fails",
  camera_freeze: "Cameras freeze", refuse_connections: "Control interface off",
};
const MODES = { move: "good", reflex: "bad", user_stopped: "bad" };
const words = (name) => name.replaceAll("_", " ");

let about;
let camera = "";

async function ask(path, options) {
  const reply = await fetch(`api/${path}`, options);
  const value = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(value.error || `the server answered ${reply.status}`);
  return value;
}

async function press(button, args) {
  try {
    await ask("press", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ button, args }),
    });
    $("message").textContent = "";
  } catch (error) {
    $("message").textContent = error.message;
  }
}

function button(text, properties, click) {
  const node = document.createElement("button");
  node.type = "button";
  node.textContent = text;
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.addEventListener("click", click);
  return node;
}

function show(name) {
  camera = name;
  $("picture").src = `cameras/${name}`;
  for (const tab of $("cameras").children) tab.setAttribute("aria-pressed", tab.textContent === name);
}

function joint(i) {
  const row = document.createElement("tr");
  row.innerHTML = `<td>${i + 1}</td><td><div class="range"><b></b><i></i></div></td><td></td><td></td><td></td>`;
  return row;
}

function build() {
  $("title").textContent = [about.robot.toUpperCase(), about.task, about.host].filter(Boolean).join(" · ");
  $("goal").textContent = about.goal;
  $("joints").append(...about.q_min.map((_, i) => joint(i)));
  $("cameras").append(...about.cameras.map((name) => button(name, { "aria-pressed": false }, () => show(name))));
  $("picture").hidden = $("rearrange").hidden = !about.cameras.length;
  $("no-scene").hidden = about.cameras.length > 0;
  if (about.cameras.length) show(about.cameras[0]);
  for (const [name, text] of Object.entries(SWITCHES)) {
    const toggle = button(text, { "aria-pressed": false, "data-switch": name },
      () => press(name, [toggle.getAttribute("aria-pressed") !== "true"]).then(look));
    $("switches").append(toggle);
  }
  $("reflex-name").append(...about.errors.map((name) => new Option(words(name), name)));
  $("reflex-name").value = "cartesian_reflex";
  $("reflex").addEventListener("submit", (event) => {
    event.preventDefault();
    press("reflex", [$("reflex-name").value]).then(look);
  });
  $("rearrange").addEventListener("click", () => press("rearrange", []).then(look));
  for (const node of document.querySelectorAll("[data-button]")) {
    node.addEventListener("click", () => press(node.dataset.button, JSON.parse(node.dataset.args)).then(look));
  }
}

function draw(state) {
  $("mode").textContent = words(state.mode);
  $("mode").className = `mode ${MODES[state.mode] || ""}`;
  $("client").textContent = state.connected ? "client connected ·" : "no client ·";
  $("time").textContent = `${state.time.toFixed(1)} s${about.lockstep ? " of robot time, lock-step" : ""}`;
  [...$("joints").children].forEach((row, i) => {
    const [low, high] = [about.q_min[i], about.q_max[i]];
    const place = (q) => `${Math.min(100, Math.max(0, 100 * (q - low) / (high - low)))}%`;
    const range = row.querySelector(".range");
    range.querySelector("i").style.left = place(state.q[i]);
    range.querySelector("b").style.left = place(state.q_d[i]);
    range.classList.toggle("near", Math.min(state.q[i] - low, high - state.q[i]) < 0.1);
    const numbers = [state.q[i] * 180 / Math.PI, state.dq[i], state.tau_ext[i]];
    numbers.forEach((value, k) => { row.children[k + 2].textContent = value.toFixed(k ? 2 : 1); });
  });
  const rate = state.success_rate === null ? "" : ` · ${(100 * state.success_rate).toFixed(0)} % of commands received`;
  $("motion").textContent = state.generator ? `${words(state.generator)}, ${words(state.controller)}${rate}` : "none";
  $("force").textContent = `${state.wrench.slice(0, 3).map((f) => f.toFixed(1)).join("  ")} N${state.contact ? " · a link is in contact" : ""}`;
  const { width, force, moving } = state.gripper;
  $("gripper").textContent = `${(1000 * width).toFixed(1)} mm${force ? `, holds with ${force.toFixed(0)} N` : ""}${moving ? ", moving" : ""}`;
  $("errors").textContent = state.errors.map(words).join(", ") || "none";
  $("errors").classList.toggle("bad", state.errors.length > 0);
  $("done").textContent = state.done === null ? "" : state.done ? "Task done" : "Task not done";
  for (const toggle of document.querySelectorAll("[data-switch]")) {
    toggle.setAttribute("aria-pressed", state.faults[toggle.dataset.switch]);
  }
}

async function look() {
  try {
    draw(await ask("state"));
    if ($("message").dataset.lost) $("message").textContent = $("message").dataset.lost = "";
  } catch {
    $("message").textContent = $("message").dataset.lost = "The emulator does not answer.";
  }
}

about = await ask("about");
build();
await look();
setInterval(look, 200);
