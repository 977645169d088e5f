// What the page knows of the open project. Boxes of a target are columns by frame, so that an hour of them is small and quick.

export const TRACKED = 1, KEY = 2, ABSENT = 3;

export const state = {
  project: null,   // facts of the project
  targets: [],
  frame: 0,
  selected: null,  // id of a target
  job: null,       // the tracking or the camera, running or the last one
  span: null,      // [first, last]
  following: false, // whether the picture follows the tracking
  playing: false,
  armed: null,     // "new" or "redraw": what the next drag draws
};

const columns = new Map();
const listeners = new Map();

export function on(event, hear) {
  listeners.set(event, [...(listeners.get(event) || []), hear]);
}

export function emit(event, content) {
  for (const hear of listeners.get(event) || []) hear(content);
}

class Column {
  constructor(size) { this.grow(Math.max(64, size)); }

  grow(size) {
    const copy = (kind, old, times = 1) => {
      const made = new kind(size * times);
      if (old) made.set(old);
      return made;
    };
    this.kind = copy(Uint8Array, this.kind);
    this.lost = copy(Uint8Array, this.lost);
    this.score = copy(Float32Array, this.score);
    this.box = copy(Float32Array, this.box, 4);
  }

  set([, frame, kind, x, y, w, h, score, lost]) {
    if (frame >= this.kind.length) this.grow(Math.max(frame + 1, 2 * this.kind.length));
    this.kind[frame] = kind;
    this.lost[frame] = kind === TRACKED ? lost : 0;
    this.score[frame] = kind === ABSENT || !kind ? 0 : score;
    this.box.set(kind ? [x, y, w, h] : [0, 0, 0, 0], 4 * frame);
  }
}

export function clearBoxes() { columns.clear(); }

export function setRows(rows) {
  for (const row of rows) {
    if (!columns.has(row[0])) columns.set(row[0], new Column(state.project.frames));
    columns.get(row[0]).set(row);
  }
  if (state.project.live) {
    for (const row of rows) state.project.frames = Math.max(state.project.frames, row[1] + 1);
  }
}

export const column = (target) => columns.get(target);

export function kindAt(target, frame = state.frame) {
  return columns.get(target)?.kind[frame] || 0;
}

/** The box of a target in a frame, or null. */
export function boxAt(target, frame = state.frame) {
  const kind = kindAt(target, frame);
  if (kind !== TRACKED && kind !== KEY) return null;
  const found = columns.get(target);
  const [x, y, w, h] = found.box.subarray(4 * frame, 4 * frame + 4);
  return { x, y, w, h, score: found.score[frame], lost: Boolean(found.lost[frame]), key: kind === KEY };
}

export const selected = () => state.targets.find((target) => target.id === state.selected) || null;

/** The nearest frame in a direction for which `test` holds in one of the targets; -1 if none does. */
export function find(step, test) {
  const ids = state.targets.filter((target) => !target.hidden).map((target) => columns.get(target.id)).filter(Boolean);
  for (let frame = state.frame + step; frame >= 0 && frame < state.project.frames; frame += step) {
    if (ids.some((found) => test(found, frame))) return frame;
  }
  return -1;
}

export const nextKey = (step) => find(step, (found, frame) => found.kind[frame] === KEY);

export const nextLost = () => find(1, (found, frame) => found.lost[frame] && !found.lost[frame - 1]);

/** Number of lost spans of all targets. */
export function lostSpans() {
  let count = 0;
  for (const target of state.targets) {
    const lost = columns.get(target.id)?.lost;
    if (lost && !target.hidden) lost.forEach((value, frame) => { count += value && !lost[frame - 1] ? 1 : 0; });
  }
  return count;
}
