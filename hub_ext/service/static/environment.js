// The page "My environment": dialogs, and a reload when something has changed.

import { request, wirePosts } from "./request.js";

const root = document.getElementById("environment");
const POLL = 4000;

for (const button of root.querySelectorAll("[data-open]")) {
  button.addEventListener("click", () => document.getElementById(button.dataset.open).showModal());
}
wirePosts(root, root.dataset.failed);

function seen(server) {
  const operation = server.operation;
  return [
    server.state,
    server.lease?.id ?? "",
    String(server.generation),
    operation ? `${operation.id} ${operation.step}` : "",
  ].join("|");
}

const { state, lease, generation, operation } = root.dataset;
const shown = [state, lease, generation, operation].join("|");

async function look() {
  if (!document.hidden && !document.querySelector("dialog[open]")) {
    try {
      const answer = await request(root.dataset.api);
      if (answer.status === 401 || answer.status === 403) {
        window.location.reload();
        return;
      }
      if (answer.ok && seen(answer.body) !== shown && !document.querySelector("dialog[open]")) {
        window.location.reload();
        return;
      }
    } catch {
      // the service is away; the page stays as it is
    }
  }
  setTimeout(look, POLL);
}
setTimeout(look, POLL);
