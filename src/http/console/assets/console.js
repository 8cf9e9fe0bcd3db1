// Keeps the page fresh: when the service says that something has changed, asks for this page again and
// puts what it says into place. What is being typed, chosen or read by keyboard is left alone, and
// without this script every page is as whole, but stands still.
"use strict";
const main = document.querySelector("main[data-live]");
const PAUSE_MILLISECONDS = 2000;
let last = 0, waits = false;

async function refresh() {
  waits = false;
  last = Date.now();
  const focus = document.activeElement;
  if (document.hidden || (main.contains(focus) && focus.closest("form, pre"))) return;
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("main");
  if (!fresh || fresh.innerHTML === main.innerHTML) return;
  const link = main.contains(focus) && focus.getAttribute("href");
  main.replaceChildren(...fresh.childNodes);
  if (link) main.querySelector(`[href="${CSS.escape(link)}"]`)?.focus();
}

function changed() {
  if (waits) return;
  waits = true;
  setTimeout(() => refresh().catch(() => {}), Math.max(0, last + PAUSE_MILLISECONDS - Date.now()));
}

if (main) {
  const stream = new EventSource("/console/live");
  stream.addEventListener("changed", changed);
  stream.addEventListener("open", () => { if (last) changed(); last ||= 1; });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) changed(); });
  setInterval(changed, 60000);
  addEventListener("pagehide", () => stream.close());
}
