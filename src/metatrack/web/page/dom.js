// Small helpers around the document.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/page/icons.svg#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

let clearing = 0;

/** Tells a screen reader what has happened. */
export function say(text) {
  $("status").textContent = text;
  clearTimeout(clearing);
  clearing = setTimeout(() => { $("status").textContent = ""; }, 4000);
}

/** Shows an error, a sentence, until it is closed or the next thing succeeds. */
export function complain(error) {
  $("alert-text").textContent = typeof error === "string" ? error : error.message;
  $("alert").hidden = false;
}

export function calm() {
  $("alert").hidden = true;
}

export function confirm(question) {
  const dialog = $("confirm");
  $("confirm-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** Runs a change once at the next picture, however often it is asked for. */
export function once(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
}

/** Answers a click by work that may fail; its error is shown. */
export function whenClicked(id, work) {
  $(id).addEventListener("click", async () => {
    try { await work(); } catch (error) { complain(error); }
  });
}
