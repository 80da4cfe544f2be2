"use strict";
const token = new URLSearchParams(location.search).get("token");
const at = (path, more = {}) => path + "?" + new URLSearchParams({ token, ...more });
const byId = (id) => document.getElementById(id);
const svg = (name, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
let images = [], file = "", current = 0, draft = null, cursor = null, undone = [], done = [], dragging = null, chosen = -1;
let waiting = new Set(), sending = false, failed = false;

const pendingKey = () => "pytest-gradcam masks " + file;
const tool = () => document.querySelector("input[name=tool]:checked").value;
const snapshot = () => JSON.stringify({ current, annotations: images[current].annotations, draft });

function say(text, wrong = false) { byId("saved").textContent = text; byId("saved").className = wrong ? "wrong" : ""; }

function remember() { done.push(snapshot()); undone = []; }

function restore(text) {
  const found = JSON.parse(text);
  if (found.current !== current) show(found.current);
  images[current].annotations = found.annotations;
  draft = found.draft;
  changed();
}

function undo() { if (done.length) { undone.push(snapshot()); restore(done.pop()); } }
function redo() { if (undone.length) { done.push(snapshot()); restore(undone.pop()); } }

function changed() {
  images[current].draft = draft;
  waiting.add(current);
  keep();
  draw();
  send();
}

function keep() {
  const kept = {};
  for (const index of waiting) kept[images[index].name] = { annotations: images[index].annotations, draft: images[index].draft };
  try { waiting.size ? localStorage.setItem(pendingKey(), JSON.stringify(kept)) : localStorage.removeItem(pendingKey()); } catch { /* a full or closed store: the server has it */ }
}

async function send() {
  if (sending || !waiting.size) return;
  sending = true;
  const index = waiting.values().next().value;
  const one = images[index], body = JSON.stringify({ image: index, annotations: one.annotations, draft: one.draft });
  try {
    const answer = await fetch(at("/save"), { method: "POST", headers: { "Content-Type": "application/json" }, body });
    if (!answer.ok) throw new Error(answer.status === 403 ? "the server was started again: open the address that it printed" : await answer.text());
    failed = false;
    if (body === JSON.stringify({ image: index, annotations: one.annotations, draft: one.draft })) waiting.delete(index);
    keep();
    say(waiting.size ? "Saving." : "Saved to " + file);
  } catch (error) {
    failed = true;
    say("NOT SAVED, kept in this browser: " + (error instanceof TypeError ? "the server is gone; start pytest-gradcam masks again" : error.message), true);
  }
  sending = false;
  if (waiting.size) failed ? setTimeout(send, 1500) : send();
}

function add(annotation) {
  remember();
  draft = null;
  images[current].annotations.push({ label: byId("label").value.trim() || "object", ...annotation });
  changed();
}

function addBox(a, b) {
  const one = images[current], clip = (v, most) => Math.min(Math.max(v, 0), most);
  const x0 = clip(Math.min(a[0], b[0]), one.width), x1 = clip(Math.max(a[0], b[0]), one.width);
  const y0 = clip(Math.min(a[1], b[1]), one.height), y1 = clip(Math.max(a[1], b[1]), one.height);
  if (x1 - x0 < 1 || y1 - y0 < 1) { draft = null; changed(); return; }
  add({ segmentation: [[x0, y0, x1, y0, x1, y1, x0, y1]], bbox: [x0, y0, x1 - x0, y1 - y0] });
}

function closePolygon() {
  if (draft && draft.points.length > 2 && draft.kind === "polygon") add({ segmentation: [draft.points.flat()] });
}

async function takeProposal([x, y]) {
  const answer = await fetch(at("/region", { image: current, kind: byId("kind").value, x: Math.floor(x), y: Math.floor(y) }));
  const found = answer.ok ? await answer.json() : null;
  found ? add(found) : say("There is no proposal here.");
}

function point(place) {
  if (tool() === "segment") return takeProposal(place);
  const kind = tool();
  if (!draft || draft.kind !== kind) { remember(); draft = { kind, points: [place] }; return changed(); }
  if (kind === "box") return addBox(draft.points[0], place);
  const [x, y] = draft.points[0], near = 8 * images[current].width / byId("image").clientWidth;
  if (draft.points.length > 2 && Math.hypot(x - place[0], y - place[1]) < near) return closePolygon();
  remember();
  draft = { kind, points: [...draft.points, place] };
  return changed();
}

function placeOf(event) {
  const area = byId("image").getBoundingClientRect(), one = images[current];
  const x = (event.clientX - area.left) / area.width * one.width, y = (event.clientY - area.top) / area.height * one.height;
  return [Math.round(Math.min(Math.max(x, 0), one.width) * 10) / 10, Math.round(Math.min(Math.max(y, 0), one.height) * 10) / 10];
}

function outline(annotation) {
  const found = annotation.segmentation;
  if (Array.isArray(found) && found.length) return found.map((ring) => "M" + ring.map((v, i) => v + (i % 2 ? " " : ",")).join("") + "Z").join("");
  if (found && Array.isArray(found.counts)) return runs(found);
  const [x, y, w, h] = annotation.bbox;
  return `M${x},${y}h${w}v${h}h${-w}Z`;
}

function runs({ size: [height], counts }) {
  let place = 0, path = "";
  counts.forEach((count, index) => {
    for (let left = index % 2 ? count : 0, p = place; left > 0;) {
      const y = p % height, tall = Math.min(left, height - y);
      path += `M${Math.floor(p / height)},${y}h1v${tall}h-1Z`;
      p += tall; left -= tall;
    }
    place += count;
  });
  return path;
}

function draw() {
  const one = images[current], drawing = byId("drawing");
  drawing.setAttribute("viewBox", `0 0 ${one.width} ${one.height}`);
  drawing.replaceChildren(...one.annotations.map((annotation, index) => svg("path", { d: outline(annotation), class: index === chosen ? "region chosen" : "region" })));
  if (draft) {
    const points = cursor && draft.kind === "polygon" ? [...draft.points, cursor] : draft.points;
    if (draft.kind === "box" && cursor) {
      const [a, b] = [draft.points[0], cursor];
      drawing.append(svg("rect", { class: "draft", x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]), width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]) }));
    } else drawing.append(svg("polyline", { class: "draft", points: points.map((p) => p.join(",")).join(" ") }));
    for (const [x, y] of draft.points) drawing.append(svg("circle", { class: "draft", cx: x, cy: y, r: 3 * one.width / (byId("image").clientWidth || one.width) }));
  }
  if (cursor && document.activeElement === byId("canvas")) {
    drawing.append(svg("path", { class: "cursor", d: `M${cursor[0]},0V${one.height}M0,${cursor[1]}H${one.width}` }));
  }
  list();
}

function list() {
  byId("regions").replaceChildren(...images[current].annotations.map((annotation, index) => {
    const item = document.createElement("li"), text = document.createElement("span"), remove = document.createElement("button");
    text.textContent = `${index + 1} ${annotation.label}`;
    remove.type = "button";
    remove.textContent = "Delete";
    remove.setAttribute("aria-label", `Delete region ${index + 1}, ${annotation.label}`);
    remove.onclick = () => { remember(); images[current].annotations.splice(index, 1); chosen = -1; changed(); };
    remove.onfocus = remove.onmouseenter = () => { chosen = index; paint(); };
    remove.onblur = remove.onmouseleave = () => { chosen = -1; paint(); };
    item.append(text, remove);
    return item;
  }));
  byId("images").querySelectorAll("button").forEach((button, index) => {
    button.title = images[index].name;
    button.textContent = `${images[index].name.split("/").slice(-2).join("/")} (${images[index].annotations.length})`;
    button.setAttribute("aria-current", index === current);
  });
  const known = new Set([...images.flatMap((one) => one.annotations.map((a) => a.label)), ...labels]);
  byId("labels").replaceChildren(...[...known].map((name) => Object.assign(document.createElement("option"), { value: name })));
}

function paint() { byId("drawing").querySelectorAll(".region").forEach((path, index) => path.classList.toggle("chosen", index === chosen)); }

function proposals() {
  const shown = tool() === "segment", picture = byId("outlines");
  picture.hidden = !shown;
  if (shown) picture.src = at("/outlines", { image: current, kind: byId("kind").value });
}

function show(index) {
  current = (index + images.length) % images.length;
  draft = images[current].draft || null;
  cursor = null;
  byId("name").textContent = `${images[current].name}, ${images[current].width} x ${images[current].height} px`;
  byId("canvas").style.width = `min(100%, ${Math.round(75 * images[current].width / images[current].height)}vh)`;
  byId("image").src = at("/image", { image: current });
  byId("image").alt = images[current].name;
  proposals();
  draw();
}

const pad = byId("canvas");
pad.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  pad.focus();
  dragging = placeOf(event);
  if (tool() === "box" && !draft) { point(dragging); pad.setPointerCapture(event.pointerId); } else { point(dragging); dragging = null; }
});
pad.addEventListener("pointermove", (event) => { cursor = placeOf(event); if (draft) draw(); });
pad.addEventListener("pointerup", (event) => {
  const place = placeOf(event);
  if (dragging && draft && draft.kind === "box" && Math.hypot(place[0] - dragging[0], place[1] - dragging[1]) > 2) addBox(dragging, place);
  dragging = null;
});
pad.addEventListener("dblclick", closePolygon);
pad.addEventListener("keydown", (event) => {
  const one = images[current], step = event.shiftKey ? 10 : 1;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (moves[event.key]) {
    const [x, y] = cursor || [Math.round(one.width / 2), Math.round(one.height / 2)], [dx, dy] = cursor ? moves[event.key] : [0, 0];
    cursor = [Math.min(Math.max(x + dx, 0), one.width), Math.min(Math.max(y + dy, 0), one.height)];
    byId("place").textContent = `x ${cursor[0]}, y ${cursor[1]}`;
    draw();
  } else if (event.key === "Enter" && cursor) point(cursor);
  else if (event.key === "Escape" && draft) { remember(); draft = null; changed(); }
  else if (event.key === "Backspace" && draft) {
    remember();
    draft = draft.points.length > 1 ? { ...draft, points: draft.points.slice(0, -1) } : null;
    changed();
  } else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=radio]), select");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !typing) { event.preventDefault(); event.shiftKey ? redo() : undo(); return; }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y" && !typing) { event.preventDefault(); redo(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const tools = { b: "box", p: "polygon", s: "segment" };
  if (tools[event.key]) { document.querySelector(`input[value=${tools[event.key]}]`).checked = true; proposals(); }
  else if (event.key === "f") closePolygon();
  else if (event.key === ",") show(current - 1);
  else if (event.key === ".") show(current + 1);
});
document.querySelectorAll("input[name=tool]").forEach((input) => input.addEventListener("change", proposals));
byId("kind").addEventListener("change", proposals);
byId("undo").onclick = undo;
byId("redo").onclick = redo;
byId("previous").onclick = () => show(current - 1);
byId("next").onclick = () => show(current + 1);
window.addEventListener("beforeunload", (event) => { if (failed && waiting.size) event.preventDefault(); });

let labels = [];
fetch(at("/state")).then((answer) => answer.json()).then((state) => {
  ({ images, file, labels } = state);
  byId("kind").replaceChildren(...state.kinds.map((kind) => Object.assign(document.createElement("option"), { value: kind, textContent: kind })));
  byId("images").replaceChildren(...images.map((one, index) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.onclick = () => show(index);
    item.append(button);
    return item;
  }));
  if (labels.length) byId("label").value = labels[0];
  const kept = JSON.parse(localStorage.getItem(pendingKey()) || "{}");
  images.forEach((one, index) => { if (kept[one.name]) { Object.assign(one, kept[one.name]); waiting.add(index); } });
  say("Saved to " + file);
  show(0);
  send();
});
