// The screen of the room takes the whole screen: by its button or by F; Escape leaves, as everywhere.

const button = document.getElementById("full-screen");

function toggle() {
  if (document.fullscreenElement) document.exitFullscreen();
  // refused where the browser forbids it: the page is as good in its window
  else document.documentElement.requestFullscreen?.().catch(() => undefined);
}

button.hidden = !document.fullscreenEnabled;
button.addEventListener("click", toggle);
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "f" && !event.ctrlKey && !event.metaKey && !event.altKey) toggle();
});
document.addEventListener("fullscreenchange", () => {
  document.body.classList.toggle("full-screen", Boolean(document.fullscreenElement));
});
