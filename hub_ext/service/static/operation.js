// The progress page: shows each step as it happens, and leads back into JupyterLab.

import { request, wireButtons } from "./request.js";

const root = document.getElementById("operation");
const silent = root.querySelector(".silent");
const words = {
  done: root.dataset.done,
  current: root.dataset.current,
  waiting: root.dataset.waiting,
  failed: root.dataset.failedStep,
};
const POLL = 1000;
// after this many polls without an answer the page says so
const PATIENCE = 3;
// a page opened after the end is read, not left
const leads = !root.dataset.over;
let unanswered = 0;

wireButtons();

function show(operation) {
  for (const step of operation.steps) {
    const item = root.querySelector(`[data-step="${step.step}"]`);
    if (item && item.className !== step.state) {
      item.className = step.state;
      item.querySelector(".word").textContent = words[step.state];
    }
  }
  const failed = operation.error !== null;
  const when = failed ? "failed" : operation.done ? "done" : "working";
  for (const part of root.querySelectorAll("[data-when]")) {
    part.hidden = part.dataset.when !== when;
  }
  if (failed) {
    root.querySelector("[data-error]").textContent = operation.error;
    root.querySelector("[data-switched]").hidden = !operation.switched || !root.dataset.own;
    root.querySelector("[data-when=failed] [data-post]").hidden = operation.switched;
  }
  const lab = root.querySelector("[data-lab]");
  if (when === "done" && lab && leads) {
    root.querySelector("[data-leads]").hidden = false;
    setTimeout(() => window.location.assign(lab.href), 1500);
  }
  return operation.done;
}

async function look() {
  try {
    const answer = await request(root.dataset.api);
    if (answer.status === 401 || answer.status === 403) {
      // signed out: a navigation signs in again and comes back here
      window.location.reload();
      return;
    }
    if (answer.ok) {
      unanswered = 0;
      silent.hidden = true;
      if (show(answer.body)) return;
    } else {
      unanswered += 1;
    }
  } catch {
    unanswered += 1;
  }
  if (unanswered >= PATIENCE) {
    silent.textContent = root.dataset.silent;
    silent.hidden = false;
  }
  setTimeout(look, POLL);
}
look();
