// What pages cannot do without a script: passkeys, live runs, copying, local times, the theme, a second question before
// dangerous forms. Text reaches the page as text nodes only; no markup is ever made from a string.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
const attribute = (node, name) => Number(node.getAttribute(name));

function tell(text) {
  const place = document.getElementById("problem");
  place.textContent = text;
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

// Passkeys: base64url in, base64url out (WebAuthn Level 3, sections 5.1.8 to 5.1.10, where a browser lacks them).
function toBytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function toText(buffer) {
  const plain = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const named = (list) => (list || []).map((entry) => ({ ...entry, id: toBytes(entry.id) }));

function parsed(kind, options) {
  const known = window.PublicKeyCredential;
  if (kind === "create") {
    if (known.parseCreationOptionsFromJSON) return known.parseCreationOptionsFromJSON(options);
    const [user, challenge] = [{ ...options.user, id: toBytes(options.user.id) }, toBytes(options.challenge)];
    return { ...options, user, challenge, excludeCredentials: named(options.excludeCredentials) };
  }
  if (known.parseRequestOptionsFromJSON) return known.parseRequestOptionsFromJSON(options);
  return { ...options, challenge: toBytes(options.challenge), allowCredentials: named(options.allowCredentials) };
}

function written(credential) {
  if (credential.toJSON) return credential.toJSON();
  const response = { clientDataJSON: toText(credential.response.clientDataJSON) };
  const parts = ["attestationObject", "authenticatorData", "signature", "userHandle"].filter((name) => credential.response[name]);
  for (const name of parts) response[name] = toText(credential.response[name]);
  if (credential.response.getTransports) response.transports = credential.response.getTransports();
  return { id: credential.id, rawId: toText(credential.rawId), type: credential.type, response, clientExtensionResults: {} };
}

async function post(path, body) {
  const headers = { "content-type": "application/json", accept: "application/json", "x-ringfence": "1" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin", redirect: "error" });
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(document.detail || document.title || `the server answered ${answer.status}`);
  return document;
}

function showCodes(codes, next) {
  const place = document.getElementById("codes");
  for (const code of codes) place.querySelector("ul").append(Object.assign(document.createElement("li"), { textContent: code }));
  place.querySelector("a").href = next;
  place.hidden = false;
  place.querySelector("h2").focus();
}

async function ceremony(form) {
  const fields = Object.fromEntries(new FormData(form));
  const kind = form.dataset.passkey;
  const offer = await post(form.dataset.begin, fields);
  const publicKey = parsed(kind, offer.options.publicKey || offer.options);
  const credential = await navigator.credentials[kind]({ publicKey });
  const done = await post(form.dataset.finish, { ...fields, ceremony: offer.ceremony, credential: written(credential) });
  const next = typeof done.next === "string" && /^\/(?![/\\])/.test(done.next) ? done.next : "/";
  if (Array.isArray(done.recovery_codes)) showCodes(done.recovery_codes, next);
  else window.location.assign(next);
}

function offerPasskeys() {
  if (!window.PublicKeyCredential) return;
  for (const form of all("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      button.disabled = true;
      try { await ceremony(form); } catch (error) {
        tell(error.name === "NotAllowedError" ? "The passkey was not used: cancelled, timed out, or none is known here." : String(error.message));
      }
      button.disabled = false;
    });
  }
}

// Live runs: points are appended to the lanes that the page was drawn with (24 at most; a new one is drawn by loading again).
const clock = (millis) => {
  const [hours, minutes, seconds] = [Math.floor(millis / 3.6e6), Math.floor(millis / 6e4) % 60, Math.floor(millis / 1e3) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
};
const room = (from, to) => (to > from ? to - from : 1);
const short = (value) => String(Number(value.toPrecision(4)));
const moved = (text, change) => text.split(" ").filter(Boolean).map((pair) => change(...pair.split(",").map(Number)).map((at) => at.toFixed(1)).join(",")).join(" ");

function widen(chart, span) {
  const [left, factor] = [attribute(chart, "data-left"), attribute(chart, "data-span") / span];
  const shift = (x) => left + (x - left) * factor;
  for (const line of all("polyline, polygon", chart)) line.setAttribute("points", moved(line.getAttribute("points"), (x, y) => [shift(x), y]));
  const places = all("[data-marks] > *", chart).flatMap((mark) => ["x", "x1", "x2"].map((name) => [mark, name]));
  for (const [mark, name] of places) if (mark.hasAttribute(name)) mark.setAttribute(name, shift(attribute(mark, name)).toFixed(1));
  for (const tick of all("[data-share]", chart)) tick.textContent = clock(span * attribute(tick, "data-share"));
  chart.setAttribute("data-span", String(span));
}

function append(chart, lane, x, value) {
  let [low, high] = [attribute(lane, "data-low"), attribute(lane, "data-high")];
  const [top, floor] = [attribute(lane, "data-top"), attribute(lane, "data-floor")];
  const [newLow, newHigh] = [Math.min(low, value), Math.max(high, value)];
  if (newLow < low || newHigh > high) {
    const rescale = (y) => floor - ((low + ((floor - y) / (floor - top)) * room(low, high) - newLow) / room(newLow, newHigh)) * (floor - top);
    for (const line of all("polyline, polygon", lane)) line.setAttribute("points", moved(line.getAttribute("points"), (at, y) => [at, rescale(y)]));
    [low, high] = [newLow, newHigh];
    for (const [name, value] of [["data-low", low], ["data-high", high]]) {
      lane.setAttribute(name, String(value));
      lane.querySelector(`[${name}-label]`).textContent = short(value);
    }
  }
  const line = lane.querySelector("polyline");
  const points = line.getAttribute("points").split(" ").filter(Boolean);
  points.push(`${x.toFixed(1)},${(floor - ((value - low) / room(low, high)) * (floor - top)).toFixed(1)}`);
  line.setAttribute("points", (points.length > 2000 ? points.filter((_, place) => place % 2) : points).join(" "));
  lane.querySelector("[data-latest]").textContent = short(value);
}

function mark(chart, x, news) {
  const kind = ["phase", "checkpoint", "refusal", "limit", "alert"].find((known) => known === news.kind) || "phase";
  const line = document.createElementNS(SVG, "line");
  const places = { x1: x, x2: x, y1: 10, y2: attribute(chart, "data-bottom"), class: `mark ${kind}` };
  for (const [name, value] of Object.entries(places)) line.setAttribute(name, String(value));
  line.append(Object.assign(document.createElementNS(SVG, "title"), { textContent: `${clock(news.at_ms)} ${news.text}` }));
  chart.querySelector("[data-marks]").append(line);
  const list = document.getElementById("news");
  list.prepend(Object.assign(document.createElement("li"), { textContent: `${clock(news.at_ms)} ${kind}: ${news.text}` }));
  while (list.children.length > 50) list.lastChild.remove();
}

function follow(place) {
  const chart = document.querySelector("[data-lanes]");
  const drawn = new Set(all("[data-lane]").map((lane) => lane.dataset.lane));
  const source = new EventSource(place.dataset.live);
  const again = () => { source.close(); window.location.reload(); };
  source.addEventListener("end", again);
  source.addEventListener("update", (event) => {
    const update = JSON.parse(event.data);
    if (Object.entries(update.values).some(([key, value]) => Number.isFinite(value) && !drawn.has(key) && drawn.size < 24)) return again();
    if (!chart) return;
    if (update.at_ms > attribute(chart, "data-span")) widen(chart, Math.ceil(update.at_ms * 1.25));
    const [left, right] = [attribute(chart, "data-left"), attribute(chart, "data-right")];
    const x = left + (update.at_ms / attribute(chart, "data-span")) * (right - left);
    for (const lane of all("[data-lane]", chart)) {
      const value = update.values[lane.dataset.lane];
      if (Number.isFinite(value)) append(chart, lane, x, value);
    }
    for (const news of update.marks) mark(chart, x, news);
    place.querySelector("[data-clock]").textContent = clock(update.at_ms);
  });
}

// Small comforts.
function comforts() {
  for (const time of all("time[data-local]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
  for (const button of all("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = "Copied"; });
  }
  for (const form of all("form[data-confirm]")) form.addEventListener("submit", (event) => window.confirm(form.dataset.confirm) || event.preventDefault());
  const token = window.location.hash.slice(1);
  if (token) for (const field of all("[data-from-fragment]")) field.value = token;
  for (const button of all("[data-theme-switch]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const root = document.documentElement.classList;
      const dark = root.contains("dark") || (!root.contains("light") && window.matchMedia("(prefers-color-scheme: dark)").matches);
      theme(dark ? "light" : "dark");
    });
  }
}

function theme(name) {
  document.documentElement.classList.remove("light", "dark");
  document.documentElement.classList.add(name);
  localStorage.setItem("theme", name);
}

if (["light", "dark"].includes(localStorage.getItem("theme"))) theme(localStorage.getItem("theme"));
offerPasskeys();
comforts();
all("[data-live]").forEach(follow);
