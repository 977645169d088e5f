// The page: opens a project, moves through it, and hears what happens.

import { ask, listen } from "./api.js";
import { $, calm, complain, icon, say, whenClicked } from "./dom.js";
import { showHome } from "./home.js";
import "./keys.js";
import { forgetPictures, shown } from "./pictures.js";
import { fit, hint, refresh, zoom } from "./stage.js";
import { clearBoxes, emit, lostSpans, nextKey, nextLost, on, setRows, state } from "./state.js";
import { edit } from "./targets.js";
import "./timeline.js";
import { setJob } from "./tracking.js";

let events = null, playing = 0, gone = false;

// --- a project

async function load(id) {
  const [project, boxes] = await Promise.all([ask("GET", `projects/${id}`), ask("GET", `projects/${id}/boxes`)]);
  const again = state.project?.id === id;
  const resized = again && (state.project.width !== project.width || state.project.height !== project.height);
  state.project = project;
  state.targets = project.targets;
  clearBoxes();
  setRows(boxes.rows);
  if (!again) {
    state.frame = Math.min(Number(sessionStorage.getItem(`frame/${id}`)) || 0, Math.max(0, project.frames - 1));
    state.selected = project.targets[0]?.id ?? null;
    emit("project");
  }
  $("project-name").value = project.name;
  showActions(project.undo, project.redo);
  for (const job of project.jobs) setJob(job);
  state.following ||= project.live;
  emit("targets");
  emit("boxes");
  if (resized) fit(); // a camera says its size when it has started
  go(state.frame, { same: true });
}

async function open(id) {
  close();
  calm();
  forgetPictures();
  await load(id);
  history.replaceState(null, "", `/?project=${id}`);
  document.body.classList.add("has-project");
  document.title = `${state.project.name} – metatrack`;
  $("home").hidden = true;
  $("editor").hidden = false;
  fit();
  refresh();
  events = listen(id, hear);
}

function close() {
  events?.close();
  events = null;
  stopPlaying();
  Object.assign(state, { project: null, targets: [], selected: null, job: null, span: null, following: false, armed: null });
  document.body.classList.remove("has-project");
}

async function home() {
  close();
  history.replaceState(null, "", "/");
  document.title = "metatrack";
  $("editor").hidden = true;
  $("home").hidden = false;
  await showHome();
}

async function hear(event) {
  try {
    if (event.type === "gone") {
      if (!gone) complain("The server does not answer. If you ended metatrack app, start it again; nothing is lost.");
      gone = true;
    } else if (event.type === "hello" || event.type === "reload") {
      if (gone) calm();
      gone = false;
      await load(state.project.id); // whatever was missed
    } else if (event.type === "change") change(event);
    else if (event.type === "thumbnails") state.project.thumbnails = event.count;
    else if (event.type === "job") {
      setJob(event.job);
      if (event.actions) showActions(...event.actions);
      if (event.rows?.length) { setRows(event.rows); emit("boxes"); }
      if (event.shown != null && state.following) go(event.shown, { preview: true });
      if (event.job.state !== "running" && state.following && event.job.kind !== "video") {
        state.following = false;
        if (event.job.frame >= 0 && event.job.kind !== "camera") go(event.job.frame);
      }
    }
  } catch (error) {
    complain(error);
  }
}

function change({ targets, rows, undo, redo }) {
  calm();
  state.targets = targets;
  setRows(rows);
  showActions(undo, redo);
  emit("targets");
  emit("boxes");
}

function showActions(undo, redo) {
  for (const [name, what] of [["undo", undo], ["redo", redo]]) {
    const verb = name === "undo" ? "Undo" : "Redo";
    $(name).disabled = !what;
    $(name).title = what ? `${verb}: ${what}` : `Nothing to ${name}`;
    $(name).setAttribute("aria-label", what ? `${verb}: ${what}` : verb);
  }
}

async function back(which) {
  const what = $(which).title;
  await edit("POST", `/${which}`);
  say(what.replace("Undo:", "Undone:").replace("Redo:", "Done again:"));
}

// --- moving through it

function go(frame, { preview = false, same = false } = {}) {
  if (!state.project) return;
  const last = Math.max(0, state.project.frames - 1);
  const next = state.project.live ? Math.max(0, frame) : Math.min(Math.max(0, Math.round(frame)), last);
  if (next !== state.frame || same || shown.frame !== next) {
    state.frame = next;
    refresh(preview);
  }
  if (!preview) sessionStorage.setItem(`frame/${state.project.id}`, String(next));
  emit("frame");
}

/** A person moves: the picture no longer follows the tracking. */
function move(frame) {
  state.following = Boolean(state.project?.live);
  stopPlaying();
  go(frame);
}

function showFrame() {
  if (!state.project) return;
  const { frames, fps, live } = state.project;
  const seconds = fps ? state.frame / fps : null;
  if (document.activeElement !== $("frame")) $("frame").value = state.frame;
  $("frame").max = $("scrub").max = $("span-first").max = $("span-last").max = Math.max(0, frames - 1);
  $("scrub").value = state.frame;
  $("scrub").setAttribute("aria-valuetext", `frame ${state.frame} of ${frames}`);
  $("of-frames").textContent = `of ${frames}`;
  $("clock").textContent = seconds === null ? "" : `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(2).padStart(5, "0")}`;
  $("first").disabled = $("previous").disabled = live || state.frame === 0;
  $("last").disabled = $("next").disabled = live || state.frame >= frames - 1;
  $("previous-key").disabled = nextKey(-1) < 0;
  $("next-key").disabled = nextKey(1) < 0;
  $("hint").textContent = hint();
  $("stage").setAttribute("aria-label", `Picture, frame ${state.frame} of ${frames}, ${state.targets.length} targets`);
}

function showSpans() {
  const count = state.project ? lostSpans() : 0;
  $("next-lost").textContent = count ? `Next lost (${count})` : "None lost";
  $("next-lost").disabled = !count;
}

function jump(frame, none) {
  if (frame < 0) say(none);
  else move(frame);
}

function play() {
  if (playing || !state.project) { stopPlaying(); return; }
  const begin = performance.now(), from = state.frame >= state.project.frames - 1 ? 0 : state.frame;
  const fps = state.project.fps || 10;
  const step = () => {
    const frame = from + Math.floor(((performance.now() - begin) / 1000) * fps);
    go(Math.min(frame, state.project.frames - 1));
    if (frame >= state.project.frames - 1) stopPlaying();
    else playing = requestAnimationFrame(step);
  };
  state.following = false;
  state.playing = true;
  playing = requestAnimationFrame(step);
  $("play").replaceChildren(icon("stop"));
  $("play").setAttribute("aria-label", "Stop");
}

function stopPlaying() {
  cancelAnimationFrame(playing);
  playing = 0;
  state.playing = false;
  $("play").replaceChildren(icon("play"));
  $("play").setAttribute("aria-label", "Play");
}

// --- what is there to be pressed

const step = (by) => move(by === Infinity ? state.project.frames - 1 : by === -Infinity ? 0 : state.frame + by);
for (const [id, by] of [["first", -Infinity], ["previous", -1], ["next", 1], ["last", Infinity]]) whenClicked(id, () => step(by));
whenClicked("play", play);
whenClicked("previous-key", () => jump(nextKey(-1), "No key frame before this one."));
whenClicked("next-key", () => jump(nextKey(1), "No key frame after this one."));
whenClicked("next-lost", () => {
  const frame = nextLost();
  if (frame >= 0) move(frame);
  else if (lostSpans()) { state.frame = -1; move(nextLost()); } // from the beginning again
});
whenClicked("undo", () => back("undo"));
whenClicked("redo", () => back("redo"));
whenClicked("zoom-in", () => zoom(1.4));
whenClicked("zoom-out", () => zoom(1 / 1.4));
whenClicked("zoom-fit", () => { fit(); refresh(); });
whenClicked("to-projects", home);
whenClicked("show-help", () => $("help").showModal());
whenClicked("alert-close", calm);
whenClicked("theme", () => {
  const dark = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  setTheme(dark === "dark" ? "light" : "dark");
});
$("frame").addEventListener("change", () => move(Number($("frame").value) || 0));
$("project-name").addEventListener("change", async () => {
  try {
    const { name } = await ask("PATCH", `projects/${state.project.id}`, { name: $("project-name").value });
    $("project-name").value = name;
    document.title = `${name} – metatrack`;
  } catch (error) {
    complain(error);
    $("project-name").value = state.project.name;
  }
});

function setTheme(theme) {
  if (theme) {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
  }
  emit("theme");
}

for (const event of ["frame", "targets", "boxes", "draft"]) on(event, showFrame);
for (const event of ["boxes", "targets"]) on(event, showSpans);
on("open", async (id) => { try { await open(id); } catch (error) { complain(error); await home(); } });
on("change", change);
on("go", move);
on("step", step);
on("job", showFrame);

setTheme(localStorage.getItem("theme"));
const asked = new URLSearchParams(location.search).get("project");
if (asked && /^[0-9a-f]{16}$/.test(asked)) emit("open", asked);
else home().catch(complain);
