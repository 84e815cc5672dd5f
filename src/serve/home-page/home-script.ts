/** Script of the page at `/`. Texts of the page's facts come from `data-` attributes of <main>. */
export const homeScript = `
const byId = (id) => document.getElementById(id);
const [drop, input, camera, card, picture, answer] = ["drop", "input", "camera", "card", "picture", "answer"].map(byId);
const facts = document.querySelector("main").dataset;
const labels = JSON.parse(facts.labels);
const element = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text ?? "" });
const maxBars = 10;
const urls = [];
let asked = 0;
let key = "";
try { key = sessionStorage.getItem("serval-key") ?? ""; } catch { /* storage is switched off: the key lasts as long as the page */ }

const call = (path, options) => fetch(path, { method: "POST", ...options, headers: { ...options.headers, ...(key ? { "x-api-key": key } : {}) } });

async function ask(file) {
  const turn = ++asked;
  urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
  show(urlOf(file));
  card.hidden = false;
  answer.className = "answer";
  answer.replaceChildren(element("p", "soft", "Asking the model\\u2026"));
  const form = new FormData();
  form.set("file", file);
  let parts;
  try {
    const response = await call("predict", { body: form });
    const reply = await response.json();
    parts = response.ok ? showAnswer(reply, file) : response.status === 401 ? askKey(file) : showError(reply.error);
  } catch {
    parts = showError({ message: "The service did not answer.", hint: "Is it still running?" });
  }
  if (turn !== asked) return;
  answer.replaceChildren(...parts);
  requestAnimationFrame(() => requestAnimationFrame(() => {
    for (const fill of answer.querySelectorAll(".fill")) fill.style.width = fill.dataset.percent + "%";
  }));
}

function urlOf(blob) {
  urls.push(URL.createObjectURL(blob));
  return urls.at(-1);
}

function show(url) {
  picture.src = url;
  picture.hidden = false;
}

const doubts = {
  low_confidence: "Not confident enough to answer",
  unknown_input: "This looks like none of the pictures that the model learned from",
};

function showAnswer(reply, file) {
  answer.className = "answer";
  const percent = (p) => (100 * p).toFixed(1);
  // The model may have been replaced since the page was opened.
  byId("version").textContent = reply.model.version;
  const list = element("ul", "bars");
  const ranked = Object.entries(reply.probabilities).sort((a, b) => b[1] - a[1]);
  for (const [label, p] of ranked.slice(0, maxBars)) {
    const item = element("li", label === reply.label ? "first" : "");
    const row = element("div", "row");
    row.append(element("span", "", label), element("span", "", percent(p) + " %"));
    const track = element("div", "track");
    const fill = element("div", "fill");
    fill.dataset.percent = percent(p);
    track.append(fill);
    item.append(row, track);
    list.append(item);
  }
  const more = ranked.length > maxBars ? ", " + (ranked.length - maxBars) + " less likely classes not shown" : "";
  const when = "Answered in " + Math.max(1, Math.round(reply.timings_ms.total)) + " ms by version " + reply.model.version + more + ".";
  const actions = element("div", "actions");
  if (facts.explains === "true") actions.append(heatButton(file));
  actions.append(...feedback(reply, ranked[0][0]));
  const title = reply.label ?? doubts[reply.reason];
  const why = reply.reason === "unknown_input" ? [element("p", "", "The bars are what it would have said anyway.")] : [];
  return [element("h2", "", title), ...why, list, element("p", "soft", when), actions, curlLine(file)];
}

function heatButton(file) {
  const button = element("button", "", "Show where");
  const plain = picture.src;
  let heat;
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", async () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    const turn = asked;
    if (on && heat === undefined) {
      button.disabled = true;
      const form = new FormData();
      form.set("file", file);
      try {
        const response = await call("explain?format=png", { body: form });
        if (response.ok) heat = urlOf(await response.blob());
        else button.textContent = (await response.json()).error.message;
      } catch {
        button.textContent = "The service did not answer";
      }
      if (heat === undefined || turn !== asked) return;
      button.disabled = false;
      button.focus();
    }
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? "Show the picture" : "Show where";
    picture.alt = on ? "The picture, with warm colours on the parts that support the answer" : "The picture you chose";
    show(on ? heat : plain);
  });
  return button;
}

function textButton(text, onClick) {
  const button = element("button", "", text);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

// Nothing is recorded before Save, and what was recorded can be changed: another label for the same answer replaces the first.
function feedback(reply, best) {
  const note = element("span", "soft");
  note.setAttribute("role", "status");
  const choice = element("select");
  choice.setAttribute("aria-label", "What it really shows");
  const save = textButton("Save", async () => {
    const label = choice.value;
    for (const control of [choice, save, cancel]) control.disabled = true;
    try {
      const body = JSON.stringify({ request_id: reply.request_id, label });
      const response = await call("feedback", { body, headers: { "content-type": "application/json" } });
      note.textContent = response.ok ? "Thank you, noted: " + label + "." : (await response.json()).error.message;
      if (response.ok) saved = label;
    } catch {
      note.textContent = "The service did not answer.";
    }
    close();
  });
  let saved;
  const close = () => {
    for (const control of [choice, save, cancel]) control.hidden = true;
    open.textContent = saved === undefined ? "This was wrong" : "Change";
    open.hidden = false;
    open.focus();
  };
  const cancel = textButton("Cancel", close);
  const open = textButton("This was wrong", () => {
    const offered = labels.filter((label) => label !== (saved ?? best));
    const options = offered.map((label) => Object.assign(element("option", "", label), { value: label }));
    choice.replaceChildren(...(offered.length === 1 ? [] : [Object.assign(element("option", "", "It is\\u2026"), { value: "" })]), ...options);
    for (const control of [choice, save, cancel]) control.disabled = control.hidden = false;
    save.disabled = choice.value === "";
    note.textContent = "";
    open.hidden = true;
    choice.focus();
  });
  choice.addEventListener("change", () => { save.disabled = choice.value === ""; });
  for (const control of [choice, save, cancel]) control.hidden = true;
  return [open, choice, save, cancel, note];
}

function curlLine(file) {
  const name = /^[\\w.-]+$/.test(file.name ?? "") ? file.name : "image.jpg";
  const text = "curl " + (key ? "-H \\"X-API-Key: $KEY\\" " : "") + "-F file=@" + name + " " + new URL("predict", document.baseURI).href;
  const line = element("div", "curl");
  const code = element("code", "", text);
  code.tabIndex = 0;
  const copy = element("button", "", "Copy");
  copy.type = "button";
  copy.setAttribute("aria-label", "Copy the curl command");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      // Browsers refuse it on pages without TLS: marked, so that Ctrl-C does it.
      getSelection().selectAllChildren(code);
    }
  });
  line.append(code, copy);
  return line;
}

function askKey(file) {
  const form = element("form", "key");
  const field = Object.assign(element("input"), { type: "password", placeholder: "API key", autocomplete: "off" });
  field.setAttribute("aria-label", "API key");
  form.append(field, element("button", "", "Ask again"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    key = field.value.trim();
    try { sessionStorage.setItem("serval-key", key); } catch { /* as above */ }
    ask(file);
  });
  return [element("h2", "", key ? "This key is not known to the service" : "This service requires an API key"), form];
}

function showError(error) {
  answer.className = "answer error";
  return [element("h2", "", "That did not work"), element("p", "", error.message), element("p", "soft", error.hint)];
}

const first = (files) => { if (files && files[0]) ask(files[0]); };
picture.addEventListener("error", () => { picture.hidden = true; });
for (const field of [input, camera]) field.addEventListener("change", () => { first(field.files); field.value = ""; });
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") first(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => first(event.clipboardData.files));
`;
