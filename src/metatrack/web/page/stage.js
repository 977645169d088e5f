// The picture with its boxes: drawing, moving, zooming, with mouse, touch, pen and keyboard.

import { $, once, say } from "./dom.js";
import { show, shown } from "./pictures.js";
import { boxAt, emit, on, selected, state } from "./state.js";

const canvas = $("stage");
const context = canvas.getContext("2d");
const view = { scale: 1, x: 0, y: 0, fitted: true };
const GRIP = 9, TOUCH_GRIP = 22, LEAST = 4, MOST_SCALE = 40;
const pointers = new Map();
let gesture = null; // what a pointer does: {kind, ...}
let editing = null; // a box that the keyboard moves: {target, box}

export const draft = () => editing?.box || gesture?.box || null;

const size = () => [state.project?.width || 1, state.project?.height || 1];
const toImage = (event) => {
  const place = canvas.getBoundingClientRect();
  return [(event.clientX - place.left - view.x) / view.scale, (event.clientY - place.top - view.y) / view.scale];
};

/** Where a pixel of the video is in the window. */
export function toScreen(x, y) {
  const place = canvas.getBoundingClientRect();
  return [place.left + view.x + x * view.scale, place.top + view.y + y * view.scale];
}

export function fit() {
  const [width, height] = size();
  view.scale = Math.min(canvas.clientWidth / width, canvas.clientHeight / height) || 1;
  view.x = (canvas.clientWidth - width * view.scale) / 2;
  view.y = (canvas.clientHeight - height * view.scale) / 2;
  view.fitted = true;
  redraw();
}

export function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const [width, height] = size();
  const least = Math.min(canvas.clientWidth / width, canvas.clientHeight / height);
  const scale = Math.min(Math.max(view.scale * factor, least), MOST_SCALE);
  if (scale <= least * 1.001) { fit(); refresh(); return; }
  view.x = x - (x - view.x) * (scale / view.scale);
  view.y = y - (y - view.y) * (scale / view.scale);
  view.scale = scale;
  view.fitted = false;
  keepInSight();
  refresh();
}

function keepInSight() {
  const [width, height] = size();
  const margin = 40;
  view.x = Math.min(Math.max(view.x, margin - width * view.scale), canvas.clientWidth - margin);
  view.y = Math.min(Math.max(view.y, margin - height * view.scale), canvas.clientHeight - margin);
  redraw();
}

/** Asks for the frame again where it is shown larger than it was asked for. */
export function refresh(preview = false) {
  if (state.project && (state.project.frames || state.project.live)) {
    show(state.frame, size()[0] * view.scale * devicePixelRatio, preview);
  }
}

// --- drawing

export const redraw = once(() => {
  canvas.parentElement.classList.toggle("fitted", view.fitted);
  const ratio = devicePixelRatio;
  const [wide, high] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  if (!state.project || !shown.bitmap) return;
  const [width, height] = size();
  context.imageSmoothingEnabled = view.scale < 4;
  context.drawImage(shown.bitmap, view.x, view.y, width * view.scale, height * view.scale);
  for (const target of state.targets) {
    if (target.hidden) continue;
    const moved = (editing?.target === target.id && editing.box) || (gesture?.target === target.id && gesture.box);
    const box = moved || boxAt(target.id, shown.frame);
    if (box) drawBox(box, target, target.id === state.selected);
  }
  const fresh = (gesture?.kind === "draw" && !gesture.target && gesture.box) || (editing && !editing.target && editing.box);
  if (fresh) drawBox(fresh, { color: "#ffffff", name: "new target" }, true);
});

function drawBox(box, target, chosen) {
  const [x, y, w, h] = [view.x + box.x * view.scale, view.y + box.y * view.scale, box.w * view.scale, box.h * view.scale];
  context.setLineDash(box.lost ? [8, 6] : []);
  for (const [color, thick] of [["#000b", chosen ? 5 : 4], [target.color, chosen ? 3 : 2]]) {
    context.strokeStyle = color;
    context.lineWidth = thick;
    context.strokeRect(x, y, w, h);
  }
  context.setLineDash([]);
  const words = [box.key ? "◆" : "", target.name, box.lost ? "LOST" : "", box.score !== undefined && !box.key ? box.score.toFixed(2) : ""];
  const text = words.filter(Boolean).join(" ");
  context.font = "600 12px system-ui, sans-serif";
  const wide = context.measureText(text).width + 14;
  const top = y > 22 ? y - 22 : Math.min(y + h + 3, canvas.clientHeight - 20);
  const left = Math.min(Math.max(0, x - 1), Math.max(0, canvas.clientWidth - wide));
  context.fillStyle = "#0d0f14e6";
  context.fillRect(left, top, wide, 19);
  context.fillStyle = target.color;
  context.fillRect(left, top, 4, 19);
  context.fillStyle = "#ffffff";
  context.fillText(text, left + 9, top + 13.5);
  if (!chosen) return;
  for (const [gx, gy] of grips(x, y, w, h)) {
    context.fillStyle = "#ffffff";
    context.strokeStyle = "#000000";
    context.lineWidth = 1;
    context.fillRect(gx - 4, gy - 4, 8, 8);
    context.strokeRect(gx - 4, gy - 4, 8, 8);
  }
}

const SIDES = [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]];
const grips = (x, y, w, h) => SIDES.map(([a, b]) => [x + a * w, y + b * h]);

// --- pointers

function gripAt(event) {
  const box = state.selected !== null && !selected()?.hidden && boxAt(state.selected);
  if (!box) return null;
  const place = canvas.getBoundingClientRect();
  const [px, py] = [event.clientX - place.left, event.clientY - place.top];
  const reach = event.pointerType === "touch" ? TOUCH_GRIP : GRIP;
  const all = grips(view.x + box.x * view.scale, view.y + box.y * view.scale, box.w * view.scale, box.h * view.scale);
  const near = all.map(([x, y]) => Math.hypot(x - px, y - py));
  const best = near.indexOf(Math.min(...near));
  return near[best] <= reach ? { side: SIDES[best], box } : null;
}

function targetAt([x, y]) {
  const inside = (target) => {
    const box = !target.hidden && boxAt(target.id);
    return box && x >= box.x && x <= box.x + box.w && y >= box.y && y <= box.y + box.h ? box.w * box.h : Infinity;
  };
  const found = [...state.targets].sort((a, b) => inside(a) - inside(b))[0];
  return found && inside(found) < Infinity ? found : null;
}

/** What a drag on an empty place draws: the selected target, where it has no box here or is to be drawn anew; else a new one. */
function toDraw(event) {
  if (state.armed === "new" || state.selected === null) return null;
  if (state.armed === "redraw" || event?.altKey || !boxAt(state.selected)) return state.selected;
  return null;
}

canvas.addEventListener("pointerdown", (event) => {
  if (!state.project?.width || !shown.bitmap) return;
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  editing = null;
  if (pointers.size === 2) { gesture = { kind: "pinch", ...pair() }; redraw(); return; }
  if (event.button === 1 || event.shiftKey) { gesture = { kind: "pan" }; return; }
  if (event.button !== 0) return;
  const start = toImage(event);
  const grip = !state.armed && !event.altKey && gripAt(event);
  const hit = !state.armed && !event.altKey && targetAt(start);
  if (grip) gesture = { kind: "resize", target: state.selected, start, ...grip, from: grip.box };
  else if (hit) {
    if (hit.id !== state.selected) { state.selected = hit.id; emit("targets"); }
    gesture = { kind: "move", target: hit.id, start, from: boxAt(hit.id), box: null };
  } else gesture = { kind: "draw", target: toDraw(event), start, box: null };
});

canvas.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) { canvas.style.cursor = state.armed ? "crosshair" : gripAt(event) ? "nwse-resize" : targetAt(toImage(event)) ? "move" : "crosshair"; return; }
  pointers.set(event.pointerId, event);
  if (!gesture) return;
  if (gesture.kind === "pinch") {
    const now = pair();
    view.x += now.x - gesture.x;
    view.y += now.y - gesture.y;
    zoom(now.far / gesture.far, now.x, now.y);
    Object.assign(gesture, now);
  } else if (gesture.kind === "pan") {
    view.x += event.clientX - last.clientX;
    view.y += event.clientY - last.clientY;
    view.fitted = false;
    keepInSight();
  } else {
    gesture.box = boxFrom(toImage(event));
    emit("draft");
    redraw();
  }
});

function pair() {
  const [a, b] = [...pointers.values()];
  const place = canvas.getBoundingClientRect();
  return {
    x: (a.clientX + b.clientX) / 2 - place.left,
    y: (a.clientY + b.clientY) / 2 - place.top,
    far: Math.max(10, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY)),
  };
}

function boxFrom([x, y]) {
  const [width, height] = size();
  const { kind, start: [sx, sy], from, side } = gesture;
  if (kind === "move") return { ...from, x: from.x + x - sx, y: from.y + y - sy, key: true, lost: false };
  if (kind === "draw") {
    const [cx, cy] = [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
    const [bx, by] = [Math.min(Math.max(sx, 0), width), Math.min(Math.max(sy, 0), height)];
    return { x: Math.min(bx, cx), y: Math.min(by, cy), w: Math.abs(cx - bx), h: Math.abs(cy - by) };
  }
  const edges = { l: from.x, t: from.y, r: from.x + from.w, b: from.y + from.h };
  if (side[0] === 0) edges.l += x - sx;
  if (side[0] === 1) edges.r += x - sx;
  if (side[1] === 0) edges.t += y - sy;
  if (side[1] === 1) edges.b += y - sy;
  const [l, r] = [Math.min(edges.l, edges.r), Math.max(edges.l, edges.r)];
  const [t, b] = [Math.min(edges.t, edges.b), Math.max(edges.t, edges.b)];
  return { x: l, y: t, w: Math.max(1, r - l), h: Math.max(1, b - t), key: true, lost: false };
}

function release(event) {
  pointers.delete(event.pointerId);
  const done = gesture;
  gesture = null;
  redraw();
  if (event.type === "pointercancel" || !done?.box) { if (done?.kind === "pan" || done?.kind === "pinch") refresh(); return; }
  const moved = done.kind !== "draw" && Math.hypot(done.box.x - done.from.x, done.box.y - done.from.y) + Math.abs(done.box.w - done.from.w) + Math.abs(done.box.h - done.from.h) > 0.5 / view.scale;
  const drawn = done.kind === "draw" && Math.min(done.box.w, done.box.h) * view.scale >= LEAST;
  if (moved || drawn) commit(done.target, done.box);
}
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const place = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - place.left, event.clientY - place.top);
}, { passive: false });

function commit(target, box) {
  state.armed = null;
  const rounded = Object.fromEntries(["x", "y", "w", "h"].map((name) => [name, Math.round(box[name] * 100) / 100]));
  emit("drawn", { target, box: rounded });
}

// --- keyboard: a box is begun, moved, sized and set without a pointer

export function editByKeys(fresh) {
  const [width, height] = size();
  const box = !fresh && state.selected !== null && boxAt(state.selected);
  const target = fresh ? null : state.selected;
  editing = { target, box: box ? { ...box, key: true, lost: false } : { x: 0.4 * width, y: 0.4 * height, w: 0.2 * width, h: 0.2 * height } };
  canvas.focus();
  say(`${box ? "Moving the box" : "New box"}. Arrows move, Shift and arrows resize, Enter sets it, Escape leaves it.`);
  emit("draft");
  redraw();
}

canvas.addEventListener("keydown", (event) => {
  if (!editing) return;
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const { box } = editing;
  const by = event.ctrlKey || event.metaKey ? 1 : Math.max(1, Math.round(size()[0] / 160));
  if (step && event.shiftKey) {
    box.w = Math.max(1, box.w + by * step[0]);
    box.h = Math.max(1, box.h + by * step[1]);
  } else if (step) {
    box.x += by * step[0];
    box.y += by * step[1];
  } else if (event.key === "Enter") {
    const { target } = editing;
    editing = null;
    commit(target, box);
  } else if (event.key === "Escape") {
    editing = null;
    say("Left as it was.");
  } else return;
  event.preventDefault();
  event.stopPropagation();
  if (editing) say(`x ${Math.round(box.x)}, y ${Math.round(box.y)}, width ${Math.round(box.w)}, height ${Math.round(box.h)}`);
  emit("draft");
  redraw();
});

export function hint() {
  if (editing) return "Arrows move the box, Shift and arrows resize it, Enter sets it, Escape leaves it.";
  if (!state.targets.length) return "Drag a box around what you want to follow.";
  const target = toDraw() && selected();
  if (target) return `Drag a box to say where ${target.name} is in this frame.`;
  if (state.armed === "new") return "Drag a box around the new target.";
  return "Drag a box to correct it, its edges to size it; drag elsewhere for a further target.";
}

export function disarm() {
  state.armed = null;
  editing = null;
  redraw();
}

new ResizeObserver(() => { if (view.fitted) fit(); else redraw(); refresh(); }).observe(canvas);
for (const event of ["picture", "boxes", "targets"]) on(event, redraw);
