// What the server is asked for. Errors are sentences.

export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The server does not answer. If you ended metatrack app, start it again; nothing is lost.");
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(sentence(content.detail || `the server answered ${answer.status}; try again`));
  return content;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?)]$/.test(text) ? "" : ".");
}

/** A frame as a picture that a canvas can draw. */
export async function picture(project, frame, width, signal) {
  const answer = await fetch(`/api/projects/${project}/frames/${frame}?width=${width}`, { signal });
  if (!answer.ok) throw new Error(sentence((await answer.json()).detail));
  return createImageBitmap(await answer.blob());
}

/** A small picture of a frame, or null where there is none. */
export async function thumbnail(project, frame) {
  const answer = await fetch(`/api/projects/${project}/thumbnails/${frame}`);
  return answer.ok ? createImageBitmap(await answer.blob()) : null;
}

/** Uploads a video, and says how far it is. */
export function upload(file, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/projects?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => progress(event.loaded / event.total);
    request.onerror = () => reject(new Error("The upload was cut off; try again."));
    request.onload = () => {
      let content = {};
      try { content = JSON.parse(request.responseText); } catch { /* told below */ }
      if (request.status === 201) resolve(content);
      else reject(new Error(sentence(content.detail || `the server answered ${request.status}`)));
    };
    request.send(file);
  });
}

/** Listens to what happens in a project; `hello` comes at every new connection. */
export function listen(project, hear) {
  const source = new EventSource(`/api/projects/${project}/events`);
  source.onmessage = (event) => hear(JSON.parse(event.data));
  source.onerror = () => hear({ type: "gone" });
  return source;
}
