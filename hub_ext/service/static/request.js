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

// Buttons with data-post: send an empty request and follow the progress page.
export function wirePosts(root, fallback) {
  for (const button of root.querySelectorAll("[data-post]")) {
    button.addEventListener("click", async () => {
      const problem = button.closest("dialog, [data-when]")?.querySelector(".problem");
      button.disabled = true;
      if (problem) problem.hidden = true;
      let message = fallback;
      try {
        const answer = await request(button.dataset.post, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: "{}",
        });
        if (answer.ok) {
          window.location.assign(answer.body.progress_url);
          return;
        }
        message = answer.body.message ?? fallback;
      } catch {
        // no connection: the fallback says so
      }
      if (problem) {
        problem.textContent = message;
        problem.hidden = false;
      }
      button.disabled = false;
    });
  }
}
