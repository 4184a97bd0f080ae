// Requests of a page to its own service. The XSRF token proves that they come from the page.

const xsrf = document.querySelector('meta[name="xsrf-token"]')?.content ?? "";

export async function request(url, options = {}) {
  const response = await fetch(url, {
    cache: "no-store",
    signal: AbortSignal.timeout(15000),
    ...options,
    headers: { Accept: "application/json", "X-XSRFToken": xsrf, ...options.headers },
  });
  let body = {};
  try {
    body = await response.json();
  } catch {
    // a proxy's error page is no JSON; the status says enough
  }
  return { ok: response.ok, status: response.status, body };
}

// The same for a page: its document, or null if it did not come (or another one did).
export async function requestPage(url) {
  const response = await fetch(url, {
    cache: "no-store",
    signal: AbortSignal.timeout(15000),
    headers: { Accept: "text/html", "X-XSRFToken": xsrf },
  });
  if (response.redirected || response.status === 401 || response.status === 403) {
    // signed out: a navigation signs in again and comes back here
    window.location.reload();
    return null;
  }
  if (!response.ok) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// The events after one ("": from now on), as a stream.
export function requestEvents(after, signal) {
  const place = after ? { "Last-Event-ID": after } : {};
  return fetch(new URL("../api/v1/events", import.meta.url), {
    cache: "no-store",
    signal,
    headers: { Accept: "text/event-stream", "X-XSRFToken": xsrf, ...place },
  });
}

function show(place, text) {
  if (!place) return;
  place.textContent = text;
  place.hidden = !text;
}

// What a button sends: data-body, and the fields of its form.
function bodyOf(button) {
  const body = JSON.parse(button.dataset.body ?? "{}");
  for (const field of button.closest("form")?.elements ?? []) {
    if (field.type === "radio" && !field.checked) continue;
    if ("inPath" in field.dataset) continue;
    if (field.name && field.value !== "") {
      const isNumber = field.type === "number" || "number" in field.dataset;
      body[field.name] = isNumber ? Number(field.value) : field.value;
    }
  }
  return body;
}

// A request whose answer did not come may have been done. The same again carries the same key, so it
// is not done twice; whatever was answered is over, and the next is another one.
let unanswered = { of: "", key: "" };

function keyOf(url, body) {
  const of = `${url} ${body}`;
  if (unanswered.of !== of) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    unanswered = { of, key: [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("") };
  }
  return unanswered.key;
}

// Where a button sends it: in data-post, {name} stands for a field of the form with data-in-path.
function addressOf(button) {
  return button.dataset.post.replace(/\{(\w+)\}/g, (whole, name) => {
    const field = button.closest("form")?.elements[name];
    return field ? encodeURIComponent(field.value.trim()) : whole;
  });
}

async function post(button, onDone) {
  const form = button.closest("form");
  if (form && !form.reportValidity()) return;
  const dialog = button.closest("dialog");
  const fallback = document.querySelector("[data-failed]")?.dataset.failed ?? "";
  const problem =
    (dialog ?? button.closest("[data-when]"))?.querySelector(".problem") ??
    document.getElementById("trouble");
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  show(problem, "");
  show(document.getElementById("said"), ""); // of what was done before
  let message = fallback;
  try {
    const url = addressOf(button);
    const body = JSON.stringify(bodyOf(button));
    const answer = await request(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": keyOf(url, body) },
      body,
    });
    if (answer.status < 500) unanswered = { of: "", key: "" };
    if (answer.ok) {
      if (answer.body.progress_url && !("stays" in button.dataset)) {
        window.location.assign(answer.body.progress_url);
        return;
      }
      dialog?.close();
      await onDone?.();
      show(document.getElementById("said"), button.dataset.said ?? "");
      return;
    }
    message = answer.body.detail ?? fallback;
  } catch {
    // no connection: the fallback says so
  } finally {
    button.ariaBusy = null;
  }
  show(problem, message);
}

// The focus goes back to the button that opened a dialog. While it was open the page may have been
// exchanged: then to the new one, or to what is left of its row.
function giveFocusBack(dialog, opener) {
  const row = opener.closest("[data-row]")?.id;
  const back = () => {
    const focused = document.activeElement; // in the dialog, until the browser notices
    if (focused !== document.body && !dialog.contains(focused)) return;
    const again =
      (opener.id && document.getElementById(opener.id)) ||
      (row && document.getElementById(row)?.querySelector("a, button, summary")) ||
      document.querySelector("main");
    again?.focus({ preventScroll: true });
  };
  dialog.addEventListener("close", back, { once: true });
}

// Buttons with data-stays do not follow where the answer leads: one of many things on the page.
// Buttons with data-open show a dialog; what the button says of its subject goes into it. Buttons
// with data-post send a request, and `onDone` follows. Both may come and go with the page.
export function wireButtons(onDone) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button || button.getAttribute("aria-disabled") === "true") return;
    if (button.dataset.post) event.preventDefault(); // the dialog stays until the answer
    if ("close" in button.dataset) {
      button.closest("dialog").close();
    } else if (button.dataset.open) {
      const dialog = document.getElementById(button.dataset.open);
      for (const place of dialog.querySelectorAll("[data-fill]")) {
        place.textContent = button.dataset[place.dataset.fill] ?? "";
      }
      for (const place of dialog.querySelectorAll("[data-if]")) {
        place.hidden = !Number(button.dataset[place.dataset.if] ?? 0);
      }
      for (const sender of dialog.querySelectorAll("[data-post-as]")) {
        sender.dataset.post = button.dataset[sender.dataset.postAs];
        sender.dataset.said = (sender.dataset.saying ?? "").replace("{name}", button.dataset.name);
      }
      dialog.querySelector("form")?.reset();
      show(dialog.querySelector(".problem"), "");
      dialog.showModal();
      giveFocusBack(dialog, button);
    } else if (button.dataset.post) {
      post(button, onDone);
    }
  });
}
