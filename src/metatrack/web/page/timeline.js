// Under the picture: the score of the selected target, what each target has in every frame, lost spans, key frames; a place to scrub.

import { $, once } from "./dom.js";
import { ABSENT, KEY, column, emit, on, state } from "./state.js";

const canvas = $("timeline");
const context = canvas.getContext("2d");
const CURVE = 52, LANE = 14, MOST_LANES = 8;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const across = (frame) => ((frame + 0.5) / Math.max(1, state.project.frames)) * canvas.clientWidth;

export const drawTimeline = once(() => {
  if (!state.project) return;
  const lanes = state.targets.slice(0, MOST_LANES);
  const height = CURVE + 10 + LANE * Math.max(1, lanes.length);
  canvas.style.height = `${height}px`;
  const ratio = devicePixelRatio;
  Object.assign(canvas, { width: Math.round(canvas.clientWidth * ratio), height: Math.round(height * ratio) });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const inks = { line: color("--line"), lost: color("--lost"), absent: color("--absent"), curve: color("--curve"), ink: color("--ink"), soft: color("--accent-soft") };
  context.fillStyle = inks.line;
  for (const level of [0, 0.5, 1]) context.fillRect(0, 2 + CURVE * (1 - level), canvas.clientWidth, 1);
  if (state.span) {
    context.fillStyle = inks.soft;
    const left = across(state.span[0] - 0.5);
    context.fillRect(left, 0, Math.max(2, across(state.span[1] + 0.5) - left), height);
  }
  curve(inks);
  lanes.forEach((target, order) => lane(target, CURVE + 10 + order * LANE, inks));
  const x = across(state.frame);
  context.fillStyle = inks.ink;
  context.fillRect(x - 1, 0, 2, height);
  context.beginPath();
  context.moveTo(x - 6, 0);
  context.lineTo(x + 6, 0);
  context.lineTo(x, 8);
  context.fill();
});

/** Calls `draw(left, width, first, last)` for each column of pixels, or each frame where frames are wider. */
function columns(draw) {
  const { frames } = state.project;
  const count = Math.min(frames, Math.ceil(canvas.clientWidth));
  for (let i = 0; i < count; i++) {
    const first = Math.floor((i * frames) / count);
    const last = Math.floor(((i + 1) * frames) / count) - 1;
    draw((first / frames) * canvas.clientWidth, ((last + 1 - first) / frames) * canvas.clientWidth, first, last);
  }
}

/** Calls `draw(left, width, what)` for columns side by side of which `what(first, last)` says the same, so that no seams are seen. */
function runs(what, draw) {
  let run = null;
  columns((left, width, first, last) => {
    const now = what(first, last);
    if (run?.now === now) { run.width = left + width - run.left; return; }
    if (run?.now) draw(run.left, run.width, run.now);
    run = { now, left, width };
  });
  if (run?.now) draw(run.left, run.width, run.now);
}

const any = (values, first, last) => values.subarray(first, last + 1).some(Boolean);

function curve(inks) {
  const found = column(state.selected);
  if (!found) return;
  context.globalAlpha = 0.35;
  context.fillStyle = inks.lost;
  runs((first, last) => any(found.lost, first, last), (left, width) => context.fillRect(left, 2, width, CURVE));
  context.globalAlpha = 1;
  context.strokeStyle = inks.curve;
  context.lineWidth = 1.6;
  context.lineJoin = "round";
  context.beginPath();
  let down = false;
  columns((left, width, first, last) => {
    let least = 2;
    for (let frame = first; frame <= last; frame++) {
      if (found.kind[frame] && found.kind[frame] !== ABSENT) least = Math.min(least, found.score[frame]);
    }
    if (least > 1) { down = false; return; }
    const place = [left + width / 2, 2 + CURVE * (1 - least)];
    if (down) context.lineTo(...place); else { context.moveTo(...place); context.lineTo(place[0] + 1, place[1]); }
    down = true;
  });
  context.stroke();
}

function lane(target, top, inks) {
  const found = column(target.id);
  if (!found) return;
  const chosen = target.id === state.selected;
  context.globalAlpha = target.hidden ? 0.3 : 1;
  const what = (first, last) => {
    if (!any(found.kind, first, last)) return null;
    return any(found.lost, first, last) ? "lost" : found.kind.subarray(first, last + 1).includes(ABSENT) ? "absent" : "seen";
  };
  runs(what, (left, width, kind) => {
    context.fillStyle = kind === "seen" ? target.color : inks[kind];
    const high = kind === "absent" ? 3 : chosen ? 9 : 6;
    context.fillRect(left, top + (LANE - high) / 2, width, high);
  });
  context.fillStyle = inks.ink;
  columns((left, width, first, last) => {
    for (let frame = first; frame <= last; frame++) {
      if (found.kind[frame] !== KEY) continue;
      const [x, y] = [across(frame), top + LANE / 2];
      context.beginPath();
      for (const [dx, dy] of [[0, -6], [6, 0], [0, 6], [-6, 0]]) context.lineTo(x + dx, y + dy);
      context.fill();
      return;
    }
  });
  context.globalAlpha = 1;
}

let scrubbing = false;
const toFrame = (event) => {
  const place = canvas.getBoundingClientRect();
  const frame = Math.floor(((event.clientX - place.left) / place.width) * state.project.frames);
  return Math.min(Math.max(0, frame), state.project.frames - 1);
};
canvas.addEventListener("pointerdown", (event) => {
  if (!state.project?.frames) return;
  scrubbing = true;
  canvas.setPointerCapture(event.pointerId);
  const row = Math.floor((event.offsetY - CURVE - 10) / LANE);
  if (row >= 0 && state.targets[row]) { state.selected = state.targets[row].id; emit("targets"); }
  emit("go", toFrame(event));
});
canvas.addEventListener("pointermove", (event) => { if (scrubbing) emit("go", toFrame(event)); });
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { scrubbing = false; });

$("scrub").addEventListener("input", (event) => emit("go", Number(event.target.value)));
new ResizeObserver(drawTimeline).observe($("scrub"));
for (const event of ["frame", "boxes", "targets", "span", "theme"]) on(event, drawTimeline);
