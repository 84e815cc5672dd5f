import { escapeHtml, percent, thousands } from "../text.ts";

export interface ShownPicture {
  readonly path: string;
  readonly label: string;
  /** Bytes of a JPEG. */
  readonly jpeg: Uint8Array;
}

export interface ShownSuspect extends ShownPicture {
  readonly likelier: string;
  readonly confidence: number;
  readonly likelierConfidence: number;
  readonly neighbours: readonly ShownPicture[];
}

export interface LabelsPage {
  readonly images: number;
  /** Of all suspects; `shown` may be fewer. */
  readonly suspects: number;
  readonly shown: readonly ShownSuspect[];
  readonly dataVersion: string;
  /** The file with all suspects, beside the page. */
  readonly list: string;
}

const style = `body { font: 15px/1.5 Helvetica, Arial, "DejaVu Sans", sans-serif; color: #1f2933; max-width: 1000px; margin: 0 auto; padding: 16px; }
h1 { font-size: 22px } section { border-top: 1px solid #e4e8ee; padding: 12px 0; display: flex; gap: 24px; flex-wrap: wrap }
figure { margin: 0; width: 132px } img { display: block; max-width: 132px; background: #eef1f5 }
figcaption { font-size: 12px; color: #5f6c7b; overflow-wrap: anywhere } .suspect { width: 260px } .suspect img { max-width: 220px }
.suspect strong { color: #b42318 } .likelier { color: #1f2933; font-weight: bold } .near { display: flex; gap: 10px; flex-wrap: wrap; flex: 1 }
.other { color: #b42318 } code { background: #eef1f5; padding: 1px 4px }`;

/** One HTML page, with everything in it: each suspect beside the pictures that are most like it. */
export function renderLabelsPage({ images, suspects, shown, dataVersion, list }: LabelsPage): string {
  const title = `${thousands(suspects)} of ${thousands(images)} labels are probably wrong`;
  const more = suspects > shown.length ? ` The first ${shown.length} are shown; <code>${escapeHtml(list)}</code> has all of them.` : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>
${style}
</style>
</head>
<body>
<h1>${title}</h1>
<p>Data version ${escapeHtml(dataVersion.slice(0, 12))}. Each suspect is beside the pictures that are most like it, with their labels.${more}</p>
<p>Write <code>relabel</code>, <code>exclude</code> or <code>keep</code> into the column <code>action</code> of <code>${escapeHtml(list)}</code>, and run
<code>serval data correct --from ${escapeHtml(list)}</code>.</p>
${shown.map(renderSuspect).join("\n")}
</body>
</html>
`;
}

function renderSuspect(suspect: ShownSuspect): string {
  const { path, label, likelier, confidence, likelierConfidence, neighbours } = suspect;
  const caption = `<strong>${escapeHtml(label)}</strong> (${percent(confidence)})<br>likelier <span class="likelier">${escapeHtml(likelier)}</span> (${percent(likelierConfidence)})<br>${escapeHtml(path)}`;
  const near = neighbours.map((one) => figure(one, `<span${one.label === label ? "" : ' class="other"'}>${escapeHtml(one.label)}</span>`));
  return `<section>${figure(suspect, caption, "suspect")}<div class="near">${near.join("")}</div></section>`;
}

function figure({ path, jpeg }: ShownPicture, caption: string, kind = ""): string {
  const source = `data:image/jpeg;base64,${Buffer.from(jpeg).toString("base64")}`;
  return `<figure${kind === "" ? "" : ` class="${kind}"`}><img src="${source}" alt="${escapeHtml(path)}" title="${escapeHtml(path)}"><figcaption>${caption}</figcaption></figure>`;
}
