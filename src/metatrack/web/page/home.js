// The first page: open a video, go on with a project.

import { ask, upload } from "./api.js";
import { $, calm, complain, confirm, duration, element, icon } from "./dom.js";
import { emit } from "./state.js";

export async function showHome() {
  const { projects, cameras } = await ask("GET", "projects");
  $("projects").replaceChildren(...projects.map(card));
  $("no-projects").hidden = projects.length > 0;
  $("cameras").replaceChildren(...cameras.map((number) => {
    const button = element("button", { type: "button" }, cameras.length > 1 ? `Use camera ${number}` : "Use the camera");
    button.addEventListener("click", async () => {
      try { emit("open", (await ask("POST", "camera", { camera: number })).id); } catch (error) { complain(error); }
    });
    return button;
  }));
}

function card({ id, name, frames, seconds }) {
  const image = element("img", { alt: "", loading: "lazy", src: `/api/projects/${id}/frames/0?width=320` });
  const about = element("span", { className: "about" }, element("b", {}, name), element("span", { className: "quiet" }, `${frames} frames${seconds ? `, ${duration(seconds)}` : ""}`));
  const open = element("button", { type: "button", className: "open" }, image, about);
  open.addEventListener("click", () => emit("open", id));
  const remove = element("button", { type: "button", className: "delete", "aria-label": `Delete the project ${name}` }, icon("delete"));
  remove.addEventListener("click", async () => {
    if (!(await confirm(`Delete the project ${name} with its boxes? This cannot be undone. A video that you passed on the command line stays where it is.`))) return;
    try { await ask("DELETE", `projects/${id}`); await showHome(); } catch (error) { complain(error); }
  });
  return element("li", {}, open, remove);
}

async function open(file) {
  if (!file) return;
  calm();
  $("upload").hidden = false;
  try {
    const { id } = await upload(file, (share) => {
      $("upload").value = share;
      $("upload-text").textContent = share < 1 ? `${file.name}: ${Math.round(100 * share)} %` : `${file.name}: looking through it …`;
    });
    emit("open", id);
  } catch (error) {
    complain(error);
  }
  $("upload").hidden = true;
  $("upload-text").textContent = "";
  $("file").value = "";
}

$("file").addEventListener("change", () => open($("file").files[0]));
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => { event.preventDefault(); open(event.dataTransfer.files[0]); });
