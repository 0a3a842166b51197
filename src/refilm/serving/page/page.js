"use strict";
// Two things that Gradio does not do: focus stays on a button whose HTML is replaced, and two videos play in step.
(() => {
  let last = null;
  const name = button => `[data-action="${button.dataset.action}"][data-key="${CSS.escape(button.dataset.key)}"]`;
  document.addEventListener("focusin", event => {
    const button = event.target.closest("[data-action][data-key]");
    last = button ? name(button) : null;
  });
  const restore = () => {
    // the name of an upload button is its text, so that it can be spoken as it is read
    document.querySelectorAll("button.upload-container[aria-label]").forEach(one => one.removeAttribute("aria-label"));
    if (last && (document.activeElement === document.body || !document.activeElement)) {
      document.querySelector(last)?.focus({ preventScroll: true });
    }
  };
  const observed = () => new MutationObserver(restore).observe(document.body, { childList: true, subtree: true });
  if (document.body) observed();
  else document.addEventListener("DOMContentLoaded", observed);

  const pairOf = element => element.closest("[data-sync]");
  const videosOf = pair => [...pair.querySelectorAll("video")];
  const label = pair => {
    pair.querySelector("[data-play]").textContent = videosOf(pair)[0].paused ? "Play both" : "Pause both";
  };
  const align = pair => {
    const [first, second] = videosOf(pair);
    if (second.duration && Math.abs(first.currentTime - second.currentTime) > 0.05) {
      second.currentTime = Math.min(first.currentTime, second.duration);
    }
    if (first.duration) pair.querySelector("[data-seek]").value = (1000 * first.currentTime) / first.duration;
  };
  document.addEventListener("click", async event => {
    const button = event.target.closest("[data-play]");
    if (!button) return;
    const pair = pairOf(button), videos = videosOf(pair), play = videos[0].paused;
    videos[0].ontimeupdate = () => align(pair);
    await Promise.all(videos.map(video => (play ? video.play() : video.pause())));
    align(pair);
    label(pair);
  });
  document.addEventListener("input", event => {
    const seek = event.target.closest("[data-seek]");
    if (!seek) return;
    for (const video of videosOf(pairOf(seek))) video.currentTime = (video.duration * seek.value) / 1000 || 0;
  });
})();
