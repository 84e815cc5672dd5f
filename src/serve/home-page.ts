import { createHash } from "node:crypto";

export interface HomePageFacts {
  readonly name: string;
  readonly version: string;
  readonly labels: readonly string[];
  /** Whether answers can be explained. */
  readonly explains: boolean;
}

const style = `
:root { color-scheme: light; --ink: #1c2430; --soft: #5d6878; --line: #d9dee6; --paper: #fff; --ground: #f5f7fa; --accent: #2f6fdb; --bad: #b3261e; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 34rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.35rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .35rem 0; }
.soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; margin-top: 1.1rem; overflow: hidden; }
.drop { display: block; padding: 2.2rem 1rem; text-align: center; cursor: pointer; border: 2px dashed var(--line); border-radius: 12px; background: var(--paper); margin-top: 1.1rem; }
.drop:hover, .drop.over, .drop:focus-within { border-color: var(--accent); background: #f0f5ff; }
.drop strong { color: var(--accent); }
.drop input { position: absolute; opacity: 0; width: 1px; height: 1px; }
#picture { display: block; width: 100%; max-height: 22rem; object-fit: contain; background: #eef1f5; }
.answer { padding: 1rem; }
.answer h2 { font-size: 1.15rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
.bars { list-style: none; margin: 0; padding: 0; display: grid; gap: .55rem; }
.bars .row { display: flex; justify-content: space-between; gap: 1rem; font-size: .95rem; }
.bars .row span:first-child { overflow-wrap: anywhere; }
.bars .row span:last-child { font-variant-numeric: tabular-nums; }
.track { height: 10px; border-radius: 5px; background: #e8ecf2; overflow: hidden; }
.fill { height: 100%; width: 0; border-radius: 5px; background: #a9bbd6; transition: width .35s ease-out; }
.first .fill { background: var(--accent); }
.first { font-weight: 600; }
.error h2 { color: var(--bad); }
.bars + .soft { margin: .9rem 0 0; }
footer { margin-top: 1.6rem; }
a { color: var(--accent); }
[hidden] { display: none; }
@media (prefers-reduced-motion: reduce) { .fill { transition: none; } }
`;

const script = `
const byId = (id) => document.getElementById(id);
const [drop, input, card, picture, answer] = ["drop", "input", "card", "picture", "answer"].map(byId);
const element = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text ?? "" });
const maxBars = 10;
let asked = 0;

async function ask(file) {
  const turn = ++asked;
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(file);
  picture.hidden = true;
  card.hidden = false;
  answer.className = "answer";
  answer.replaceChildren(element("p", "soft", "Asking the model\\u2026"));
  const form = new FormData();
  form.set("file", file);
  let parts;
  try {
    const response = await fetch("predict", { method: "POST", body: form });
    const reply = await response.json();
    parts = response.ok ? showAnswer(reply) : showError(reply.error);
  } catch {
    parts = showError({ message: "The service did not answer.", hint: "Is it still running?" });
  }
  if (turn !== asked) return;
  answer.replaceChildren(...parts);
  requestAnimationFrame(() => requestAnimationFrame(() => {
    for (const fill of answer.querySelectorAll(".fill")) fill.style.width = fill.dataset.percent + "%";
  }));
}

function showAnswer(reply) {
  const percent = (p) => (100 * p).toFixed(1);
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
  const facts = "Answered in " + Math.max(1, Math.round(reply.timings_ms.total)) + " ms" + more + ".";
  return [element("h2", "", reply.label), list, element("p", "soft", facts)];
}

function showError(error) {
  answer.className = "answer error";
  return [element("h2", "", "That did not work"), element("p", "", error.message), element("p", "soft", error.hint)];
}

const first = (files) => { if (files && files[0]) ask(files[0]); };
picture.addEventListener("load", () => { picture.hidden = false; });
input.addEventListener("change", () => { first(input.files); input.value = ""; });
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") first(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => first(event.clipboardData.files));
`;

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const escapes: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escapeHtml = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => escapes[character] ?? "");

/**
 * The page at `/`: choose, drop, paste or photograph a picture and see the answer as bars. One file without any outside
 * resource, and a policy that allows exactly its own style and script.
 */
export function renderHomePage({ name, version, labels }: HomePageFacts): {
  readonly html: string;
  readonly contentSecurityPolicy: string;
} {
  const shown = labels.slice(0, 12).map(escapeHtml).join(", ");
  const classes = labels.length > 12 ? `${shown} and ${labels.length - 12} more` : shown;
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(name)} · Serval</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<main>
<h1>${escapeHtml(name)}</h1>
<p>Give the model a picture. It tells you which of these it sees: ${classes}.</p>
<label class="drop" id="drop">
<strong>Choose a picture</strong>, drop one here, or paste it
<input id="input" type="file" accept="image/jpeg,image/png,image/webp,image/gif">
<p class="soft">JPEG, PNG, WebP or GIF</p>
</label>
<section class="card" id="card" hidden>
<img id="picture" alt="The picture you chose" hidden>
<div class="answer" id="answer" aria-live="polite"></div>
</section>
<footer class="soft">Model version ${escapeHtml(version)} · <a href="docs">API</a> · <a href="model">Model</a> · <a href="health">Health</a> · <a href="metrics">Metrics</a></footer>
</main>
<script>${script}</script>
</body>
</html>
`;
  const contentSecurityPolicy = [
    "default-src 'none'",
    `style-src ${hash(style)}`,
    `script-src ${hash(script)}`,
    "img-src blob: data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  return { html, contentSecurityPolicy };
}
