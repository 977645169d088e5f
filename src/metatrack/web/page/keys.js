// Keyboard shortcuts, and the sheet that lists them.

import { $, complain, element } from "./dom.js";
import { disarm, editByKeys, fit, refresh, zoom } from "./stage.js";
import { emit, state } from "./state.js";
import { deleteHere, newTarget, setSpan, toggleAbsent } from "./targets.js";
import { pause, running, track } from "./tracking.js";

const go = (step) => emit("step", step);
const click = (id) => () => $(id).click();

const KEYS = [
  [["ArrowLeft", ","], "← or ,", "previous frame", () => go(-1)],
  [["ArrowRight", "."], "→ or .", "next frame", () => go(1)],
  [["Shift+ArrowLeft"], "Shift ←", "ten frames back", () => go(-10)],
  [["Shift+ArrowRight"], "Shift →", "ten frames on", () => go(10)],
  [["Home"], "Home", "first frame", () => go(-Infinity)],
  [["End"], "End", "last frame", () => go(Infinity)],
  [[" "], "Space", "play or stop", click("play")],
  [["<"], "Shift ,", "previous key frame", click("previous-key")],
  [[">"], "Shift .", "next key frame", click("next-key")],
  [["g"], "G", "next lost span", click("next-lost")],
  [["t"], "T", "track forwards, or pause", () => (running() ? pause() : track("forwards"))],
  [["Shift+T"], "Shift T", "track backwards", () => track("backwards")],
  [["n"], "N", "new box by keys: arrows move it, Shift and arrows resize it, Enter sets it", (event) => newTarget(event)],
  [["e"], "E", "move the selected box by keys", () => editByKeys(false)],
  [["r"], "R", "draw the selected target anew", () => { state.armed = "redraw"; emit("frame"); }],
  [["v"], "V", "not visible in this frame", toggleAbsent],
  [["Delete", "Backspace"], "Delete", "delete the selected box in this frame", deleteHere],
  [["["], "[", "a span begins here", () => setSpan(false)],
  [["]"], "]", "a span ends here", () => setSpan(true)],
  [["Tab"], "1 to 9", "select a target", null],
  [["+", "="], "+", "zoom in", () => zoom(1.4)],
  [["-"], "−", "zoom out", () => zoom(1 / 1.4)],
  [["0"], "0", "fit the picture", () => { fit(); refresh(); }],
  [["Mod+z"], "Ctrl Z", "undo", click("undo")],
  [["Mod+Shift+Z", "Mod+y"], "Ctrl Shift Z", "redo", click("redo")],
  [["Escape"], "Esc", "leave what was begun", () => { disarm(); emit("frame"); }],
  [["?"], "?", "this sheet", click("show-help")],
];

$("keys").append(...KEYS.flatMap(([, shown, what]) => [element("dt", {}, element("kbd", {}, shown)), element("dd", {}, what)]));

document.addEventListener("keydown", async (event) => {
  if (!state.project || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const { target } = event;
  const typing = target.matches("input:not([type=range]):not([type=checkbox]):not([type=color]), textarea");
  if (typing || (target.matches("button, a, input") && [" ", "Enter"].includes(event.key)) || event.altKey) return;
  if (target.id === "scrub" && /^(Arrow|Home|End|Page)/.test(event.key)) return; // the slider's own
  const shift = event.shiftKey && !/^[^a-z]$/i.test(event.key); // a sign is what it is: whether it takes Shift is the keyboard's matter
  const name = [event.ctrlKey || event.metaKey ? "Mod" : "", shift ? "Shift" : "", event.key].filter(Boolean).join("+");
  if (/^[1-9]$/.test(name) && state.targets[name - 1]) { state.selected = state.targets[name - 1].id; emit("targets"); return; }
  const found = KEYS.find(([names, , , act]) => act && names.includes(name));
  if (!found) return;
  event.preventDefault();
  try { await found[3](event); } catch (error) { complain(error); }
});
