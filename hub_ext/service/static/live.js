// Keeps the parts of a page that change (data-live, each with an id) up to date in place: the page
// is fetched again in the background, and only a part that differs is exchanged. The focus stays
// where it is; if what had it is gone, it goes to the part's heading. What is unfolded stays so.
// Times are shown by the reader's clock, and what is left of them counts down.
//
// It is fetched soon after an event that concerns it, but not again within data-gap seconds, or two
// seconds where the event is one of data-urgent; after data-poll seconds in any case, for not
// everything is an event; more often where no events come (a proxy that keeps them back); never while
// the tab is hidden, and at once when it is seen again. Many pages do not ask at the same moment: each
// waits a little as chance has it.

import { follow, following } from "./changes.js";
import { requestPage, wireButtons } from "./request.js";

const language = document.documentElement.lang || "en";
const isChinese = language.startsWith("zh");
const time = { hour: isChinese ? "2-digit" : "numeric", minute: "2-digit" };
const clock = new Intl.DateTimeFormat(language, time);
const dayAndClock = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", ...time });
const left = new Intl.RelativeTimeFormat(language, { numeric: "always" });
const sources = new Map();
let asked = 0;
let shown = 0;
const WITHOUT_EVENTS = 8000;
const SPREAD = 1000;
const URGENT_GAP = 2000;
let timer = null;
let due = 0;
let last = 0; // when it was fetched
let skew = 0; // of the reader's clock, in milliseconds

function readClock(page) {
  const server = Date.parse(page.querySelector("main")?.dataset.now ?? "");
  if (!Number.isNaN(server)) skew = Date.now() - server;
}

function relative(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  const size = Math.abs(seconds);
  if (size < 60) return inWords(seconds, "second");
  if (size < 2 * 3600) return inWords(Math.round(seconds / 60), "minute");
  if (size < 48 * 3600) return inWords(Math.round(seconds / 3600), "hour");
  return inWords(Math.round(seconds / 86400), "day");
}

// As in the texts around it, a number stands apart from what is Chinese.
function inWords(number, unit) {
  const words = left.format(number, unit);
  return isChinese ? words.replace(/(\d)(?=\p{Script=Han})/gu, "$1 ") : words;
}

function tick() {
  const now = Date.now() - skew;
  for (const place of document.querySelectorAll("time[data-left]")) {
    const text = relative(Date.parse(place.dateTime) - now);
    if (place.textContent !== text) place.textContent = text;
  }
}

function localize(part) {
  for (const place of part.querySelectorAll("time[data-clock]")) {
    const moment = new Date(place.dateTime);
    const isToday = moment.toDateString() === new Date().toDateString();
    place.textContent = (isToday ? clock : dayAndClock).format(moment);
    place.title = moment.toLocaleString(language);
  }
}

function exchange(part, fresh) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const row = focused?.closest("[data-row]")?.id;
  const scrolled = [...part.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  const unfolded = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
  part.innerHTML = fresh;
  localize(part);
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  [...part.querySelectorAll(".scroll")].forEach((each, i) => {
    each.scrollLeft = scrolled[i] ?? 0;
  });
  if (!focused) return;
  const again =
    (focused.id && document.getElementById(focused.id)) ||
    (row && part.querySelector(`[id="${row}"] button`)) ||
    (row && part.querySelector(`[id="${row}"] a`)) ||
    part.querySelector("h2, [tabindex]");
  if (again?.tagName === "H2") again.tabIndex = -1;
  again?.focus({ preventScroll: true });
}

export async function refresh() {
  const number = ++asked;
  const page = await requestPage(window.location.href);
  // what was asked for earlier and comes later is older than what is shown
  if (!page || number < shown) return;
  shown = number;
  readClock(page);
  const { poll } = page.querySelector("main")?.dataset ?? {};
  if (poll) document.querySelector("main").dataset.poll = poll;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id)?.innerHTML;
    if (fresh !== undefined && fresh !== sources.get(part.id)) {
      sources.set(part.id, fresh);
      exchange(part, fresh);
    }
  }
  tick();
}

function said(name) {
  return document.querySelector("main").dataset[name];
}

// When to fetch at the latest, if nothing happens.
function patience() {
  const poll = said("poll") * 1000;
  return (following() ? poll : Math.min(poll, WITHOUT_EVENTS)) * (0.8 + 0.4 * Math.random());
}

function fetchWithin(milliseconds) {
  const at = Date.now() + milliseconds;
  if (timer && due <= at) return;
  clearTimeout(timer);
  due = at;
  timer = setTimeout(async () => {
    timer = null;
    if (document.hidden) return; // until it is seen again
    try {
      await refresh();
    } catch {
      // the service is away; the page stays as it is
    }
    last = Date.now();
    fetchWithin(patience());
  }, milliseconds);
}

function hear(event) {
  const about = said("about");
  if (event && about && event.user !== about) return;
  const isUrgent = event && said("urgent").split(",").includes(event.action);
  const pause = last + (isUrgent ? URGENT_GAP : said("gap") * 1000) - Date.now();
  fetchWithin(Math.max(pause, 0) + Math.random() * SPREAD);
}

readClock(document);
for (const part of document.querySelectorAll("[data-live]")) {
  sources.set(part.id, part.innerHTML);
  localize(part);
}
wireButtons(refresh);
tick();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) fetchWithin(Math.random() * SPREAD);
});
follow(said("after"), hear);
fetchWithin(patience());
