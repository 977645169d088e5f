// Frames on their way from the server: at most one is asked for at a time, always the newest one that is wanted.

import { picture } from "./api.js";
import { complain } from "./dom.js";
import { emit, state } from "./state.js";

const MOST = 48;
const kept = new Map();
let wanted = null, busy = false;

export const shown = { frame: -1, bitmap: null, milliseconds: 0 };

function remember(key, bitmap) {
  kept.delete(key);
  kept.set(key, bitmap);
  while (kept.size > MOST) kept.delete(kept.keys().next().value);
}

export function forgetPictures() {
  kept.clear();
  wanted = null;
  shown.frame = -1;
  shown.bitmap = null;
}

/** The width to ask for: what the stage can show, of a few that the server keeps. */
function widthFor(pixels) {
  return [640, 960, 1440].find((width) => width >= pixels) || 0;
}

export function show(frame, pixels, preview = false) {
  wanted = { project: state.project.id, frame, width: preview ? -1 : widthFor(pixels), at: performance.now() };
  const key = `${wanted.project}/${frame}/${wanted.width}`;
  if (kept.has(key)) {
    put(wanted, kept.get(key));
    wanted = null;
  } else {
    work();
  }
}

function put(what, bitmap) {
  if (what.project !== state.project?.id) return;
  Object.assign(shown, { frame: what.frame, bitmap, milliseconds: performance.now() - what.at });
  emit("picture");
}

async function work() {
  if (busy) return;
  busy = true;
  while (wanted) {
    const what = wanted;
    wanted = null;
    try {
      const bitmap = await picture(what.project, what.frame, what.width);
      if (what.width >= 0) remember(`${what.project}/${what.frame}/${what.width}`, bitmap);
      put(what, bitmap);
    } catch (error) {
      complain(error);
    }
  }
  busy = false;
}
