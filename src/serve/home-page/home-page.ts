import { createHash } from "node:crypto";
import { homeScript } from "./home-script.ts";
import { homeStyle } from "./home-style.ts";
import { escapeHtml, firstOf } from "../../text.ts";

export interface HomePageFacts {
  readonly name: string;
  readonly version: string;
  readonly labels: readonly string[];
  /** Whether answers can be explained. */
  readonly explains: boolean;
  /** The path below which a proxy shows the page; empty for the root. */
  readonly basePath: string;
}

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/**
 * The page at `/`: choose, drop, paste or photograph a picture and see the answer as bars, where the model saw it, and a way
 * to say that it was wrong. One file without any outside
 * resource, and a policy that allows exactly its own style and script.
 */
export function renderHomePage({ name, version, labels, explains, basePath }: HomePageFacts): {
  readonly html: string;
  readonly contentSecurityPolicy: string;
} {
  const classes = firstOf(labels.map(escapeHtml), 12);
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(name)} · Serval</title>
<link rel="icon" href="data:,">${basePath === "" ? "" : `\n<base href="${escapeHtml(basePath)}/">`}
<style>${homeStyle}</style>
</head>
<body>
<main data-labels="${escapeHtml(JSON.stringify(labels))}" data-explains="${String(explains)}">
<h1>${escapeHtml(name)}</h1>
<p>Choose a picture to classify. The classes are ${classes}.</p>
<label class="drop" id="drop">
<strong>Choose a picture</strong><span class="mouse">, drop one here, or paste it</span>
<input id="input" type="file" accept="image/jpeg,image/png,image/webp,image/gif">
<p class="soft">JPEG, PNG, WebP or GIF</p>
</label>
<label class="camera"><span class="button">Take a photograph</span><input id="camera" type="file" accept="image/*" capture="environment"></label>
<section class="card" id="card" hidden>
<img id="picture" alt="The picture you chose" hidden>
<div class="answer" id="answer" aria-live="polite"></div>
</section>
<footer class="soft">Model version <span id="version">${escapeHtml(version)}</span> · <a href="docs">API</a> · <a href="model">Model</a> · <a href="health">Health</a> · <a href="metrics">Metrics</a></footer>
</main>
<script>${homeScript}</script>
</body>
</html>
`;
  const contentSecurityPolicy = [
    "default-src 'none'",
    `style-src ${hash(homeStyle)}`,
    `script-src ${hash(homeScript)}`,
    "img-src blob: data:",
    "connect-src 'self'",
    basePath === "" ? "base-uri 'none'" : "base-uri 'self'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  return { html, contentSecurityPolicy };
}
