// Frames on their way from the server: at most one is asked for at a time, always the newest one that is wanted. Where it takes
// long, the frame's thumbnail is shown until it comes.

import { picture, thumbnail } from "./api.js";
import { complain } from "./dom.js";
import { emit, state } from "./state.js";

const MOST = 48;
const PATIENCE = 40; // milliseconds in which most frames come; a thumbnail before that would only flicker
const kept = new Map();
let wanted = null, busy = false, latest = null, glancing = false, patience = 0;

/** What is on the canvas; `exact` is false of a thumbnail, and `milliseconds` is how long the frame took, by whatever was shown. */
export const shown = { frame: -1, bitmap: null, exact: true, milliseconds: 0, first: 0 };

function remember(key, bitmap) {
  kept.delete(key);
  kept.set(key, bitmap);
  while (kept.size > MOST) kept.delete(kept.keys().next().value);
}

export function forgetPictures() {
  kept.clear();
  wanted = latest = null;
  clearTimeout(patience);
  shown.frame = -1;
  shown.bitmap = null;
}

/** The width to ask for: what the stage can show, of a few that the server keeps. */
function widthFor(pixels) {
  return [640, 960, 1440].find((width) => width >= pixels) || 0;
}

export function show(frame, pixels, preview = false) {
  latest = wanted = { project: state.project.id, frame, width: preview ? -1 : widthFor(pixels), at: performance.now() };
  clearTimeout(patience);
  const key = `${wanted.project}/${frame}/${wanted.width}`;
  if (kept.has(key)) {
    put(wanted, kept.get(key));
    wanted = null;
    return;
  }
  if (!preview && !state.playing && frame < state.project.thumbnails && shown.frame !== frame) {
    patience = setTimeout(glance, busy ? 0 : PATIENCE);
  }
  work();
}

function put(what, bitmap, exact = true) {
  if (what.project !== state.project?.id) return;
  if (what !== latest && shown.frame === latest?.frame) return; // an earlier frame came late
  const milliseconds = performance.now() - what.at;
  const first = exact && !shown.exact && shown.frame === what.frame ? shown.first : milliseconds;
  Object.assign(shown, { frame: what.frame, bitmap, exact, milliseconds, first });
  emit("picture");
}

/** Shows thumbnails of the newest frames that are wanted and not there, one after another. */
async function glance() {
  if (glancing) return;
  glancing = true;
  let what = null;
  while (latest && latest !== what && shown.frame !== latest.frame) {
    what = latest;
    try {
      const bitmap = await thumbnail(what.project, what.frame);
      if (bitmap && shown.frame !== latest?.frame) put(what, bitmap, false);
    } catch { /* the frame itself is on its way, and tells what is wrong */ }
  }
  glancing = false;
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
