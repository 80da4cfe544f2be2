"use strict";
// The checks come as indices into a table of strings, worst first; cards are made when they are asked for.
const { strings, checks, pictures } = JSON.parse(document.getElementById("evidence").textContent);
const OUTCOME = 0, CHECK = 1, MODEL = 2, TEST = 3, IMAGE = 4, FINDING = 5, PICTURE = 6, REQUIREMENTS = 7, LINE = 8, ROWS = 9, RECORD = 10;
const MARKS = { failed: "✕", invalid: "!", "no evidence": "○", passed: "✓" };
const STEP = 50;
const OPEN = 3;  // cards that are unfolded: the worst
const form = document.getElementById("filters");
const list = document.getElementById("list");
const status = document.getElementById("status");
const more = document.getElementById("more");
let found = checks;
let shown = 0;

// Text only ever becomes text: no string of a test, a file or a model is read as markup.
function element(name, text, css) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (css) made.className = css;
  return made;
}

function pairs(flat) {
  const made = element("dl");
  for (let i = 0; i < flat.length; i += 2) {
    made.append(element("dt", strings[flat[i]]), element("dd", strings[flat[i + 1]]));
  }
  return made;
}

function picture(check) {
  const name = strings[check[PICTURE]];
  const path = pictures[name] || "pictures/" + encodeURIComponent(name);
  const link = element("a");
  if (!pictures[name]) {
    link.href = path;  // a page may not open data as another page
    link.title = "Open the picture at its full size";
  }
  const image = element("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.width = 960;
  image.height = 590;
  image.alt = "The view and the heatmap with the mask's outline: " + strings[check[FINDING]];
  image.src = path;
  link.append(image);
  return link;
}

function card(check, open) {
  const outcome = strings[check[OUTCOME]];
  const item = element("li", undefined, "check " + outcome.replace(" ", "-"));
  const whole = element("details", undefined, "whole");
  whole.open = open;
  const head = element("summary");
  const line = element("span", undefined, "line");
  const badge = element("span", undefined, "badge");
  const mark = element("span", MARKS[outcome]);
  mark.setAttribute("aria-hidden", "true");
  badge.append(mark, " " + outcome);
  line.append(badge, element("span", strings[check[CHECK]]), element("span", strings[check[LINE]]));
  const body = element("div", undefined, check[PICTURE] === null ? "body bare" : "body");
  if (check[PICTURE] !== null) body.append(picture(check));
  const numbers = element("div");
  const record = element("details");
  record.append(element("summary", "Model, image and circumstances"), pairs(check[RECORD]));
  numbers.append(pairs(check[ROWS]), record);
  body.append(numbers);
  head.append(line, element("span", strings[check[FINDING]], "finding"), element("span", strings[check[TEST]], "test"));
  whole.append(head, body);
  item.append(whole);
  return item;
}

function show(count) {
  const next = found.slice(shown, shown + count);
  list.append(...next.map((check, place) => card(check, shown + place < OPEN && strings[check[OUTCOME]] !== "passed")));
  shown += next.length;
  const left = found.length - shown;
  more.hidden = left === 0;
  more.textContent = "Show " + Math.min(STEP, left) + " more of " + left.toLocaleString("en");
  status.textContent = found.length === checks.length
    ? checks.length.toLocaleString("en") + " checks"
    : found.length.toLocaleString("en") + " of " + checks.length.toLocaleString("en") + " checks";
}

// A filter compares indices; only the words are looked for in the strings, once in each string.
function wanted() {
  const data = new FormData(form);
  const index = (name) => (data.get(name) ? strings.indexOf(data.get(name)) : null);
  const outcomes = new Set(data.getAll("outcome").map((name) => strings.indexOf(name)));
  const check = index("check"), model = index("model"), requirement = index("requirement");
  const words = data.get("words").trim().toLowerCase();
  const matches = words ? strings.map((text) => text.toLowerCase().includes(words)) : null;
  return (one) => outcomes.has(one[OUTCOME])
    && (check === null || one[CHECK] === check)
    && (model === null || one[MODEL] === model)
    && (requirement === null || one[REQUIREMENTS].includes(requirement))
    && (matches === null || matches[one[TEST]] || matches[one[IMAGE]]);
}

function filter() {
  found = checks.filter(wanted());
  list.replaceChildren();
  shown = 0;
  show(STEP);
}

for (const event of ["input", "change"]) form.addEventListener(event, filter);
for (const button of document.querySelectorAll("button[data-test]")) {
  button.addEventListener("click", () => {
    form.elements.words.value = button.dataset.test;
    filter();
    document.getElementById("checks").scrollIntoView();
  });
}
form.addEventListener("reset", () => setTimeout(filter));
form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  const first = list.children.length;
  show(STEP);
  const next = list.children[first];
  next.tabIndex = -1;
  next.focus({ preventScroll: true });
});
form.reset();
