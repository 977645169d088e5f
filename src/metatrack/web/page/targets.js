// The list of targets, the numbers of the selected one's box, and spans of frames.

import { ask } from "./api.js";
import { $, complain, confirm, element, icon, whenClicked } from "./dom.js";
import { draft, editByKeys } from "./stage.js";
import { ABSENT, boxAt, emit, kindAt, on, selected, state } from "./state.js";

const path = (rest = "") => `projects/${state.project.id}${rest}`;

/** Asks for an edit, and shows what it changed. */
export async function edit(method, rest, body) {
  const change = await ask(method, path(rest), body);
  emit("change", change);
  return change;
}

export async function putBox(target, box) {
  if (target) await edit("PUT", `/targets/${target}/boxes/${state.frame}`, box);
  else {
    const { target: made } = await edit("POST", "/targets", { frame: state.frame, box });
    state.selected = made;
    emit("targets");
  }
}

on("drawn", async ({ target, box }) => {
  try { await putBox(target, box); } catch (error) { complain(error); }
  emit("frame");
});

// --- the list

const rows = new Map();

function makeRow(target) {
  const color = element("input", { type: "color" });
  const name = element("input", { maxLength: 100, autocomplete: "off" });
  const score = element("span", { className: "score" });
  const hide = element("button", { type: "button" });
  const remove = element("button", { type: "button" }, icon("delete"));
  const item = element("li", {}, color, name, score, hide, remove);
  const change = async (what) => {
    try { await edit("PATCH", `/targets/${target.id}`, what); } catch (error) { complain(error); emit("targets"); }
  };
  const choose = () => { if (state.selected !== target.id) { state.selected = target.id; emit("targets"); } };
  item.addEventListener("pointerdown", choose);
  item.addEventListener("focusin", choose);
  color.addEventListener("change", () => change({ color: color.value }));
  name.addEventListener("change", () => change({ name: name.value.trim() || target.name }));
  name.addEventListener("keydown", (event) => { if (event.key === "Enter") name.blur(); });
  hide.addEventListener("click", () => change({ hidden: !rows.get(target.id).target.hidden }));
  remove.addEventListener("click", async () => {
    if (!(await confirm(`Delete ${rows.get(target.id).target.name} with all its boxes? You can undo this.`))) return;
    try { await edit("DELETE", `/targets/${target.id}`); } catch (error) { complain(error); }
  });
  return { item, color, name, score, hide, remove, target };
}

function showTargets() {
  const ids = new Set(state.targets.map((target) => target.id));
  for (const [id, row] of rows) if (!ids.has(id)) { row.item.remove(); rows.delete(id); }
  if (!ids.has(state.selected)) state.selected = state.targets[0]?.id ?? null;
  for (const target of state.targets) {
    if (!rows.has(target.id)) rows.set(target.id, makeRow(target));
    const row = rows.get(target.id);
    row.target = target;
    row.color.value = target.color;
    if (document.activeElement !== row.name) row.name.value = target.name;
    row.color.setAttribute("aria-label", `Colour of ${target.name}`);
    row.name.setAttribute("aria-label", `Name of ${target.name}`);
    row.hide.setAttribute("aria-label", `${target.hidden ? "Show" : "Hide"} ${target.name}`);
    row.hide.setAttribute("aria-pressed", String(target.hidden));
    row.hide.replaceChildren(icon(target.hidden ? "no-eye" : "eye"));
    row.remove.setAttribute("aria-label", `Delete ${target.name}`);
    row.item.classList.toggle("selected", target.id === state.selected);
    if (row.item.parentNode !== $("targets")) $("targets").append(row.item);
  }
  $("no-targets").hidden = state.targets.length > 0;
  showBox();
}

function showScores() {
  for (const [id, row] of rows) {
    const box = boxAt(id), absent = kindAt(id) === ABSENT;
    row.score.textContent = absent ? "absent" : !box ? "–" : box.key ? "key" : box.lost ? "LOST" : box.score.toFixed(2);
    row.score.classList.toggle("is-lost", Boolean(box?.lost));
  }
}

// --- numbers

const fields = ["x", "y", "w", "h"];

function showBox() {
  showScores();
  const target = selected();
  const box = draft() || (target && boxAt(target.id));
  for (const name of fields) {
    const field = $(`box-${name}`);
    if (document.activeElement !== field) field.value = box ? Math.round(box[name] * 10) / 10 : "";
  }
  $("box-title").textContent = target ? `Box of ${target.name} in frame ${state.frame}` : "Box in this frame";
  const absent = target && kindAt(target.id) === ABSENT;
  $("box-state").textContent = !target ? "Type numbers and set them, or draw on the picture." : absent ? "Marked as not visible."
    : !box ? "None here." : box.key ? "Key frame: drawn by you, and kept by tracking." : `Tracked, score ${(box.score ?? 0).toFixed(2)}${box.lost ? ", lost" : ""}.`;
  $("absent").textContent = absent ? "Visible again" : "Not visible";
  for (const id of ["absent", "span-delete", "span-absent"]) $(id).disabled = !target || Boolean(state.project?.live);
}

$("box-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const box = Object.fromEntries(fields.map((name) => [name, Number($(`box-${name}`).value)]));
  try { await putBox(state.selected, box); } catch (error) { complain(error); }
});

export async function toggleAbsent() {
  if (state.selected === null) return;
  const mark = kindAt(state.selected) === ABSENT ? "delete" : "absent";
  await edit("POST", `/targets/${state.selected}/spans`, { first: state.frame, last: state.frame, mark });
}

export async function deleteHere() {
  if (state.selected === null || !kindAt(state.selected)) return;
  await edit("POST", `/targets/${state.selected}/spans`, { first: state.frame, last: state.frame, mark: "delete" });
}

async function markSpan(mark) {
  const [first, last] = [Number($("span-first").value), Number($("span-last").value)];
  await edit("POST", `/targets/${state.selected}/spans`, { first, last, mark });
}

export function setSpan(end) {
  $(end ? "span-last" : "span-first").value = state.frame;
  const [first, last] = [Number($("span-first").value), Number($("span-last").value)];
  if (first > last) $(end ? "span-first" : "span-last").value = state.frame;
  showSpan();
}

function showSpan() {
  state.span = [Number($("span-first").value), Number($("span-last").value)].sort((a, b) => a - b);
  emit("span");
}

export function newTarget(event) {
  state.armed = "new";
  if (event?.detail === 0 || event instanceof KeyboardEvent) editByKeys(true); // not by a pointer
  emit("frame");
}

whenClicked("absent", toggleAbsent);
whenClicked("span-delete", () => markSpan("delete"));
whenClicked("span-absent", () => markSpan("absent"));
whenClicked("span-from-here", () => setSpan(false));
whenClicked("span-to-here", () => setSpan(true));
$("new-target").addEventListener("click", newTarget);
for (const id of ["span-first", "span-last"]) $(id).addEventListener("change", showSpan);
on("targets", showTargets);
on("draft", showBox);
on("frame", showBox);
on("boxes", showBox);
on("project", () => { $("span-first").value = $("span-last").value = 0; state.span = null; });
