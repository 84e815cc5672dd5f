import { createHash } from "node:crypto";
import type { FastifyReply } from "fastify";
import { Html, html } from "./html.ts";

const style = `
:root { color-scheme: light; --ink: #1c2430; --soft: #5d6878; --line: #d9dee6; --paper: #fff; --ground: #f5f7fa; --accent: #2f6fdb; --bad: #b3261e; --good: #1a7f4b; --mark: #fff4d6; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header { background: var(--paper); border-bottom: 1px solid var(--line); padding: .6rem 1rem; display: flex; gap: 1.2rem; align-items: baseline; flex-wrap: wrap; }
header strong { font-size: 1.05rem; }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.35rem; margin: .3rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .42rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
tr:last-child > * { border-bottom: 0; }
th { font-weight: 600; font-size: .86rem; }
td.wide, th.wide { white-space: normal; overflow-wrap: anywhere; }
td.number { text-align: right; }
tr.differs { background: var(--mark); }
form.bar { display: flex; gap: .5rem; flex-wrap: wrap; margin: .6rem 0; }
input[type=text] { flex: 1 1 16rem; min-width: 0; padding: .45rem .6rem; border: 1px solid var(--line); border-radius: 8px; font: inherit; }
button { padding: .45rem .9rem; border: 1px solid var(--accent); border-radius: 8px; background: var(--accent); color: #fff; font: inherit; cursor: pointer; }
input[type=checkbox] { width: 1.15rem; height: 1.15rem; margin: 0; }
.badge { border-radius: 6px; padding: .05rem .45rem; font-size: .84rem; background: #e8ecf2; white-space: nowrap; }
.FINISHED, .alias { background: #dff3e7; color: var(--good); }
.FAILED, .KILLED { background: #fbe3e1; color: var(--bad); }
.RUNNING { background: #e3edfc; color: var(--accent); }
.error { background: #fbe3e1; color: var(--bad); border-radius: 8px; padding: .6rem .8rem; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: .8rem; }
.grid img { display: block; width: 100%; height: auto; background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
.grid img.chart { aspect-ratio: 640 / 380; }
figure { margin: 0; }
figcaption { color: var(--soft); font-size: .85rem; padding: .2rem .1rem; overflow-wrap: anywhere; }
`;

/** MLflow's clients print addresses of MLflow's pages, such as /#/experiments/1/runs/ID: they lead to ours. */
const script = `
const go = () => {
  const hash = location.hash.replace(/[?].*/, "");
  const run = /^#[/]experiments[/][^/]+[/]runs[/]([\\w-]+)/.exec(hash);
  const experiment = /^#[/]experiments[/](\\d+)/.exec(hash);
  const model = /^#[/]models[/]([^/]+)/.exec(hash);
  if (run) location.replace("/runs/" + run[1]);
  else if (experiment) location.replace("/experiments/" + experiment[1]);
  else if (model) location.replace("/models/" + model[1]);
};
addEventListener("hashchange", go);
go();
`;

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** Sends a page: one document without any outside resource, and a policy that allows exactly its own style and script. */
export function sendPage(reply: FastifyReply, title: string, body: Html, status = 200): FastifyReply {
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · Serval</title>
        <link rel="icon" href="data:," />
        ${new Html(`<style>${style}</style>`)}
      </head>
      <body>
        <header><strong>Serval</strong><a href="/">Experiments</a><a href="/models">Models</a></header>
        <main>${body}</main>
        ${new Html(`<script>${script}</script>`)}
      </body>
    </html> `;
  const policy = `default-src 'none'; style-src ${hash(style)}; script-src ${hash(script)}; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'`;
  return reply.code(status).type("text/html; charset=utf-8").header("content-security-policy", policy).send(page.text);
}

/** A table that scrolls in itself where it is wider than the screen. */
export function table(head: Html, rows: readonly Html[]): Html {
  return html`<div class="scroll">
    <table>
      <thead>
        ${head}
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
  </div>`;
}
