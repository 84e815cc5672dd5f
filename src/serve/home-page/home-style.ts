/** Style of the page at `/`. */
export const homeStyle = `
:root { color-scheme: light; --ink: #1c2430; --soft: #566171; --line: #d9dee6; --paper: #fff; --ground: #f5f7fa; --accent: #2461c7; --bad: #b3261e; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 34rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.35rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .35rem 0; }
.soft { color: var(--soft); font-size: .9rem; overflow-wrap: anywhere; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; margin-top: 1.1rem; overflow: hidden; }
.drop { display: block; padding: 2rem 1rem; text-align: center; cursor: pointer; border: 2px dashed var(--line); border-radius: 12px; background: var(--paper); margin-top: 1.1rem; }
.drop:hover, .drop.over, .drop:focus-within { border-color: var(--accent); background: #f0f5ff; }
.drop strong { color: var(--accent); }
.drop input, .camera input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.camera { display: none; text-align: center; margin-top: .6rem; }
@media (pointer: coarse) { .camera { display: block; } .mouse { display: none; } }
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
button, select, .button, .key input { font: inherit; font-size: .9rem; min-height: 2.5rem; padding: .4rem .8rem; border: 1px solid var(--line); border-radius: 8px; background: var(--paper); color: var(--ink); }
button, .button { cursor: pointer; }
button:hover, .button:hover { border-color: var(--accent); }
button:disabled { color: var(--soft); cursor: default; }
:focus-visible, .camera:focus-within .button { outline: 2px solid var(--accent); outline-offset: 2px; }
.drop :focus-visible { outline: none; }
.actions, .key { display: flex; flex-wrap: wrap; gap: .5rem; margin-top: .9rem; align-items: center; }
.key input { flex: 1; min-width: 10rem; }
.curl { display: flex; gap: .5rem; margin-top: .9rem; align-items: stretch; }
.curl code { flex: 1; min-width: 0; overflow-x: auto; white-space: nowrap; padding: .55rem .7rem; background: #eef1f5; border-radius: 8px; font-size: .8rem; }
footer { margin-top: 1.6rem; }
a { color: var(--accent); }
[hidden] { display: none !important; }
@media (prefers-reduced-motion: reduce) { .fill { transition: none; } }
`;
