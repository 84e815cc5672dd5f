import type { Screen, ShownLine } from "./terminal.ts";

export interface Look {
  readonly title: string;
  /** What a screen reader says. */
  readonly description: string;
  readonly columns: number;
  /** Rows that are seen at a time; longer output scrolls. */
  readonly rows: number;
  /** Seconds until it begins again. */
  readonly seconds: number;
}

const [rowHeight, charWidth, padding, bar] = [17, 7.85, 14, 30];

/**
 * A recording as one picture without scripts: each line appears at its time by a CSS animation, and the rows scroll. Where animations
 * are off it shows the end.
 */
export function drawRecording({ lines, rows }: Screen, look: Look): string {
  const width = Math.ceil(look.columns * charWidth + 2 * padding);
  const height = bar + look.rows * rowHeight + 2 * padding;
  const share = (seconds: number): string => `${Number(((100 * seconds) / look.seconds).toFixed(2))}%`;
  const styles: string[] = [];
  const drawn = lines.map((line, i) => {
    styles.push(
      `@keyframes l${i}{0%{opacity:0}${share(line.from)}{opacity:1}${line.until === undefined ? "" : `${share(line.until)}{opacity:0}`}}`,
      `.l${i}{animation-name:l${i}}`,
    );
    const y = bar + padding + line.row * rowHeight + 12;
    return `<text class="l l${i}${line.until === undefined ? "" : " gone"}${kindOf(line)}" x="${padding}" y="${y}">${escape(line.text)}</text>`;
  });
  const scrolls = scrollsOf(lines, look.rows).map(([from, row]) => `${share(from)}{transform:translateY(${-row * rowHeight}px)}`);
  const end = -Math.max(0, rows - look.rows) * rowHeight;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="t d">
<title id="t">${escape(look.title)}</title>
<desc id="d">${escape(look.description)}</desc>
<style>
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d7dee6;white-space:pre}
.command{fill:#fff;font-weight:600}.step{fill:#7cc4ff}.warning{fill:#ffd479}.serving{fill:#8fe3a1}
.gone{opacity:0}.rows{transform:translateY(${end}px)}
@media (prefers-reduced-motion:no-preference){
.l{animation:${look.seconds}s step-end infinite}
.rows{animation:scroll ${look.seconds}s step-end infinite}
@keyframes scroll{0%{transform:none}${scrolls.join("")}}
${styles.join("\n")}
}
</style>
<clipPath id="c"><rect y="${bar}" width="${width}" height="${height - bar}"/></clipPath>
<rect width="${width}" height="${height}" rx="8" fill="#17202b"/>
<circle cx="18" cy="16" r="5" fill="#ff6159"/><circle cx="36" cy="16" r="5" fill="#ffbd2e"/><circle cx="54" cy="16" r="5" fill="#28c941"/>
<g clip-path="url(#c)"><g class="rows">
${drawn.join("\n")}
</g></g>
</svg>
`;
}

/** The moments at which the lowest row so far goes below the window, and the row that is then the first. */
function scrollsOf(lines: readonly ShownLine[], window: number): [seconds: number, firstRow: number][] {
  let first = 0;
  return [...lines]
    .sort((a, b) => a.from - b.from)
    .flatMap(({ row, from }): [number, number][] => {
      if (row - window + 1 <= first) return [];
      first = row - window + 1;
      return [[from, first]];
    });
}

function kindOf({ text }: ShownLine): string {
  if (text.startsWith("$ ")) return " command";
  if (/^\[\d\/\d\] /.test(text)) return " step";
  if (text.startsWith("WARNING")) return " warning";
  return text.startsWith("Serving ") ? " serving" : "";
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
