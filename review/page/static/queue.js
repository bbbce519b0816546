// The queue: shows one image after the other, and takes a word with one key; the next ones are fetched ahead.
import { post } from "./api.js";
import { Outbox } from "./outbox.js";
import { Picture, Viewer } from "./viewer.js";

const AHEAD = 8, RENEW_MS = 30000, ASK_AGAIN_MS = 3000;
const told = JSON.parse(document.getElementById("told").textContent);
const $ = (id) => document.getElementById(id);
const fetched = new Map();  // pictures by seal and page
let waiting = [], current = null, page = 0, done = [], asking = false, comment = "", count = 0;

const outbox = new Outbox(told.who, {
  changed: (entries, away) => {
    document.body.classList.toggle("away", away);
    $("state").textContent = away ? `the server is away: ${entries} words wait here` : entries > 3 ? `${entries} on their way` : "";
  },
  told: (answer) => { if (answer.told) say(answer.told); },
  refused: (entry, why) => say(why, true),
});
const viewer = new Viewer($("image"), (shown) => {
  const { window, bits } = shown.picture, top = 2 ** bits - 1;
  $("window").textContent = `grey ${Math.round(window[0] * top)} to ${Math.round(window[1] * top)} of ${top}, ${shown.zoom.toFixed(1)} x`;
  document.body.dataset.drawn = shown.picture.seal;
});

function picture(item, at) {
  const key = `${item.seal} ${at}`;
  if (!fetched.has(key)) {
    const made = new Picture(item.seal, at, Boolean(item.map) && at === item.page);
    made.ready.catch(() => {});
    fetched.set(key, made);
  }
  return fetched.get(key);
}

function forget() {
  const kept = new Set([current, ...waiting, ...done.slice(-3).map((entry) => entry.item)].map((item) => item?.seal));
  for (const [key, made] of fetched) if (!kept.has(made.seal)) fetched.delete(key);
}

// What nobody else may be given: also what was decided, until the server has heard it.
function inHand() {
  const unheard = outbox.entries.filter((entry) => entry.path === "/api/word").map((entry) => entry.content.seal);
  return [...[current, ...waiting].filter(Boolean).map((item) => item.seal), ...unheard];
}

async function ask() {
  if (asking || waiting.length >= AHEAD) return;
  asking = true;
  try {
    const { product, board, labels } = told;
    const answer = await post("/api/next", { have: inHand(), count: AHEAD - waiting.length + 1, product, board, labels });
    waiting = waiting.filter((item) => !answer.lost.includes(item.seal));
    const seals = (entries) => entries.map((entry) => entry.item.seal);
    const held = new Set([current, ...waiting].map((item) => item?.seal));
    const said = new Set(seals(done.filter((entry) => !entry.skipped))), skipped = new Set(seals(done));
    const fresh = answer.items.filter((item) => !held.has(item.seal) && !skipped.has(item.seal));
    // What was skipped comes again once there is nothing else.
    const again = answer.items.filter((item) => !current && !waiting.length && !said.has(item.seal));
    for (const item of fresh.length ? fresh : again) {
      waiting.push(item);
      picture(item, item.page);
    }
    count = answer.left;
    document.body.dataset.asked = Number(document.body.dataset.asked || 0) + 1;
  } catch (error) {
    if (error.status === 401 || error.status === 403) location.assign("/hello");
    say(error.status ? error.message : "the server is away", true);
  }
  asking = false;
  if (!current) advance(); else bar();
}

function advance() {
  current = waiting.shift() || null;
  comment = "";
  if (current) show(current.page); else empty();
  forget();
  if (waiting.length <= AHEAD - 2) ask();
}

function empty() {
  document.body.classList.add("empty");
  document.body.dataset.seal = "";
  bar();
}

async function show(at) {
  const item = current;
  page = at;
  document.body.classList.remove("empty");
  document.body.dataset.seal = item.seal;
  const made = picture(item, at);
  if (made.bitmap) viewer.show(made);
  side(item);
  if (made.bitmap) return;
  try {
    await made.ready;
    if (current === item && page === at) viewer.show(made);
  } catch (error) {
    fetched.delete(`${item.seal} ${at}`);
    if (current !== item) return;
    say(`${item.file}: ${error.message}`, true);
    advance();
  }
}

function bar() {
  $("left").textContent = count ? `${count.toLocaleString("en")} open` : "";
  $("undo").disabled = !done.length;
}

function add(parent, tag, text, options = {}) {
  const made = Object.assign(document.createElement(tag), options);
  made.textContent = text;
  parent.append(made);
  return made;
}

function side(item) {
  $("says").textContent = item.says || "Your eyes first: the model keeps its word to itself here.";
  $("says").className = item.says ? "" : "blind";
  if ($("dispute")) $("dispute").disabled = !item.label;
  const names = [["product", item.product], ["board", item.board], ["joint", item.joint], ["view", item.view]];
  $("names").replaceChildren();
  for (const [name, text] of names.filter(([, text]) => text)) { add($("names"), "dt", name); add($("names"), "dd", text); }
  add($("names"), "dt", "file"); add($("names"), "dd", item.file);
  $("notes").textContent = item.notes.join("; ");
  $("comment-shown").textContent = comment && `comment: ${comment}`;
  $("reasons").replaceChildren();
  item.reasons.forEach((reason, index) => {
    const button = add($("reasons"), "button", reason, { type: "button", className: "reason" });
    button.prepend(Object.assign(document.createElement("kbd"), { textContent: index + 1 }));
    button.addEventListener("click", () => word("nio", reason));
  });
  $("pages").replaceChildren();
  for (let at = 0; item.pages > 1 && at < item.pages; at += 1) {
    const score = item.scores?.[at];
    const label = `page ${at + 1}${typeof score === "number" ? `: ${score.toPrecision(2)}` : ""}`;
    const button = small($("pages"), item.seal, at, label, () => show(at));
    button.setAttribute("aria-pressed", at === page);
  }
  strip("views", item.views, "view ");
  strip("neighbours", item.neighbours, "");
  $("words").replaceChildren();
  for (const said of item.words) {
    add($("words"), "li", `${said.at} ${said.by}: ${said.label}${said.view ? ` (view ${said.view})` : ""}`, { className: said.label });
  }
  for (const name of ["reasons", "pages", "views", "neighbours", "words"]) $(name).parentElement.hidden = !$(name).childElementCount;
  bar();
}

function strip(name, looks, prefix) {
  $(name).replaceChildren();
  for (const look of looks) small($(name), look.seal, 0, prefix + look.name, () => peek(look, prefix + look.name));
}

function small(parent, seal, at, label, action) {
  const button = add(parent, "button", "", { type: "button", className: "small" });
  button.append(Object.assign(new Image(), { src: `/picture/${seal}/${at}?small=1`, alt: "", loading: "lazy" }));
  add(button, "span", label);
  button.addEventListener("click", action);
  return button;
}

function peek(look, label) {
  $("peek-image").src = `/picture/${look.seal}/0`;
  $("peek-image").alt = $("peek-name").textContent = label;
  $("peek").showModal();
}

function say(text, bad = false) {
  $("said").textContent = text;
  $("said").classList.toggle("bad", bad);
}

function word(label, reason = "") {
  if (!current) return;
  say(`${label}${reason ? `, ${reason}` : ""}: ${current.file}`);
  const sent = outbox.put("/api/word", { seal: current.seal, label, reason, comment });
  done.push({ item: current, sent, skipped: false });
  advance();
}

function skip() {
  if (!current) return;
  say(`skipped: ${current.file}`);
  done.push({ item: current, sent: outbox.put("/api/skip", { seal: current.seal }), skipped: true });
  advance();
}

function undo() {
  const last = done.pop();
  if (!last) return say("nothing to take back");
  if (!outbox.drop(last.sent)) outbox.put("/api/undo", { seal: last.item.seal, skipped: last.skipped });
  waiting = [current, ...waiting].filter((item) => item && item.seal !== last.item.seal);
  current = last.item;
  say(`taken back: ${current.file}`);
  show(current.page);
}

const actions = {
  defect: () => word("nio"), good: () => word("io"), skip, undo,
  dispute: () => { if (current?.label) word("disputed"); },
  comment: () => { $("comment-text").value = comment; $("comment").showModal(); },
  map: () => { viewer.showMap = !viewer.showMap; $("map-on").setAttribute("aria-pressed", viewer.showMap); viewer.draw(); },
  magnifier: () => { viewer.lens = !viewer.lens; $("lens-on").setAttribute("aria-pressed", viewer.lens); viewer.draw(); },
  darker: (shift) => viewer.level(shift ? -0.1 : 0, shift ? 0 : -0.08),
  brighter: (shift) => viewer.level(shift ? 0.1 : 0, shift ? 0 : 0.08),
  reset: () => viewer.reset(),
};
const keys = Object.fromEntries(Object.entries(told.hotkeys).map(([name, key]) => [key === "space" ? " " : key, actions[name]]));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const unshifted = { "{": "[", "}": "]" }[key] || key;
  if (event.target.closest?.("button, a, input") && (key === "Enter" || key === " ")) {
    if (event.target.closest("input, a") || key === "Enter") return;
  }
  let action = keys[unshifted];
  if (key === "?") action = () => $("help").showModal();
  else if (/^[1-9]$/.test(key)) action = () => { const reason = current?.reasons[key - 1]; if (reason) word("nio", reason); };
  else if (key === "+" || key === "=") action ||= () => viewer.zoomBy(1.5);
  else if (key === "-") action ||= () => viewer.zoomBy(1 / 1.5);
  else if (key === "0") action = () => viewer.fit();
  else if (key === "PageUp" || key === "PageDown") action = () => {
    const at = page + (key === "PageDown" ? 1 : -1);
    if (current && at >= 0 && at < current.pages) show(at);
  };
  if (!action || (event.repeat && [actions.defect, actions.good, actions.dispute].includes(action))) return;
  event.preventDefault();
  action(event.shiftKey);
});

const buttons = { nio: "defect", io: "good", dispute: "dispute", skip: "skip", undo: "undo", "comment-open": "comment", "map-on": "map", "lens-on": "magnifier", darker: "darker", brighter: "brighter", reset: "reset" };
for (const [id, name] of Object.entries(buttons)) $(id)?.addEventListener("click", (event) => { actions[name](event.shiftKey); $(id).blur(); });
$("help-open").addEventListener("click", () => $("help").showModal());
$("opacity").addEventListener("input", () => { viewer.opacity = $("opacity").value / 100; viewer.showMap = true; viewer.draw(); });
$("comment").addEventListener("close", () => {
  if ($("comment").returnValue === "keep") comment = $("comment-text").value.trim();
  $("comment-shown").textContent = comment && `comment: ${comment}`;
});
for (const button of document.querySelectorAll("dialog .close")) button.addEventListener("click", () => button.closest("dialog").close());

ask();
setInterval(() => {  // what is in hand stays in hand
  if (!current && !waiting.length) ask();
  else post("/api/next", { have: inHand(), count: 0 }).catch(() => {});
}, RENEW_MS);
setInterval(() => { if (!current) ask(); }, ASK_AGAIN_MS);
