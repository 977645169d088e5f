// Begin, watch and pause trackings; write the video with the boxes.

import { ask } from "./api.js";
import { $, calm, duration, element, say, whenClicked } from "./dom.js";
import { emit, on, state } from "./state.js";

const path = (rest) => `projects/${state.project.id}${rest}`;

export const running = () => state.job?.state === "running" && state.job.kind !== "video";

export async function track(direction) {
  if (running()) return;
  const only = $("only-selected").checked && state.selected !== null;
  const body = { frame: state.frame, direction, targets: only ? [state.selected] : null, stop_when_lost: $("stop-when-lost").checked };
  calm();
  state.following = true;
  setJob(await ask("POST", path("/jobs"), body));
}

export async function pause() {
  if (running()) await ask("DELETE", path(`/jobs/${state.job.id}`));
}

export function setJob(job) {
  if (job.kind === "video") { showFilm(job); return; }
  const before = state.job;
  if (before?.id === job.id && before.state !== "running" && job.state === "running") return; // an answer that events overtook
  state.job = job;
  showJob();
  if (job.state !== "running" && before?.id === job.id && before.state === "running") say(words(job));
}

function words(job) {
  const speed = job.fps ? `${job.fps.toFixed(0)} frames a second` : "starting";
  if (job.kind === "camera" && job.state === "running") return `Camera, ${speed}, recorded. Draw a box to follow something.`;
  if (job.state === "running") {
    return `${job.done} of ${job.total} frames, ${speed}${job.left !== null ? `, ${duration(job.left)} left` : ""}`;
  }
  if (job.state === "failed") return `Stopped: ${job.message}`;
  if (job.state === "paused") return job.message?.startsWith("lost") ? `Paused: ${job.message}. Correct the box, then track on.` : `Paused at frame ${job.frame}.`;
  return job.kind === "camera" ? "Recorded." : `Done: ${job.done} frames tracked ${job.kind}.`;
}

function showJob() {
  const { job } = state, busy = running();
  const live = Boolean(state.project?.live);
  $("track-on").parentElement.hidden = busy;
  $("track-on").disabled = $("track-back").disabled = busy || live;
  $("pause").hidden = !busy;
  $("pause").textContent = live ? "Stop the camera" : "Pause";
  $("progress").hidden = !busy || live;
  $("progress").value = job?.total ? job.done / job.total : 0;
  $("progress-text").textContent = job ? words(job) : "From the boxes in this frame on.";
  emit("job");
}

function showFilm(job) {
  const busy = job.state === "running";
  $("film").disabled = busy;
  $("film-progress").hidden = !busy;
  $("film-progress").value = job.total ? job.done / job.total : 0;
  $("film-text").textContent = busy ? `${job.done} of ${job.total} frames` : job.state === "done" ? "The video is ready." : `Stopped: ${job.message}`;
  $("film-link").hidden = job.state !== "done";
}

whenClicked("track-on", () => track("forwards"));
whenClicked("track-back", () => track("backwards"));
whenClicked("pause", pause);
whenClicked("film", async () => showFilm(await ask("POST", path("/video"))));
whenClicked("show-export", async () => {
  const { formats } = await ask("GET", "projects");
  $("formats").replaceChildren(...formats.map(({ name, title }) => {
    const link = element("a", { className: "button", href: `/api/${path(`/exports/${name}`)}`, download: "" }, element("b", {}, name), element("span", {}, title));
    link.dataset.format = name;
    return element("li", {}, link);
  }));
  $("film-link").href = `/api/${path("/video")}`;
  $("export").showModal();
});
on("project", () => { state.job = null; $("film-link").hidden = true; $("film-text").textContent = ""; showJob(); });
