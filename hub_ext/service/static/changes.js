// Tells a page that something changed: the service's events, read as a stream for as long as the
// tab is seen. (A browser opens only some six connections to a host for all its tabs, so a hidden
// tab has none.) A stream that breaks goes on after the last event, so none is missed; who comes
// again waits longer each time, and not all at the same moment.

import { requestEvents } from "./request.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 60000;
// the service says something every 15 s; a proxy that keeps it back is as none
const PATIENCE = 40000;

let heard = 0;

// Whether news would come by the stream.
export function following() {
  return Date.now() - heard < PATIENCE;
}

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// `after`: the last event that is shown already, or "". `onNews` gets an event, or null: anything
// may have changed.
export function follow(after, onNews) {
  let last = after;
  let reading = null;
  let cut = null;
  let wait = FIRST_WAIT;

  function take(block) {
    const said = {};
    for (const line of block.split("\n")) {
      const colon = line.indexOf(": ");
      if (colon > 0) said[line.slice(0, colon)] = line.slice(colon + 2);
    }
    // it began without a number: what changed since the page was made is not known
    const isFirst = said.id && !last;
    if (said.id) {
      last = said.id;
      wait = FIRST_WAIT;
    }
    if (said.data && said.event !== "gap") onNews(JSON.parse(said.data));
    else if (isFirst || said.event === "gap") onNews(null);
  }

  async function read(signal) {
    const answer = await requestEvents(last, signal);
    if (!answer.ok) return;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard = Date.now();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(take);
    }
  }

  async function keepReading() {
    const mine = Symbol("while the tab is seen");
    reading = mine;
    while (reading === mine) {
      const begun = Date.now();
      cut = new AbortController();
      // a connection that nothing comes by is given up
      const watch = setInterval(() => {
        if (!following() && Date.now() - begun > PATIENCE) cut.abort();
      }, 5000);
      try {
        await read(cut.signal);
      } catch {
        // the service is away, or the tab is hidden
      }
      clearInterval(watch);
      if (reading !== mine) return;
      heard = 0;
      await sleep(wait * (0.5 + Math.random()));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }

  function look() {
    if (document.hidden && reading) {
      reading = null;
      heard = 0;
      cut.abort();
    } else if (!document.hidden && !reading) {
      keepReading();
    }
  }

  document.addEventListener("visibilitychange", look);
  look();
}
