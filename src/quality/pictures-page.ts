import { escapeHtml, thousands } from "../text.ts";

export interface ShownDefects {
  readonly path: string;
  readonly label: string;
  readonly defects: readonly string[];
  /** Bytes of a JPEG. */
  readonly jpeg: Uint8Array;
}

export interface PicturesPage {
  readonly images: number;
  /** Of all pictures that were found; `shown` may be fewer. */
  readonly found: number;
  readonly shown: readonly ShownDefects[];
  /** The file with all of them, beside the page. */
  readonly list: string;
}

const style = `body { font: 15px/1.5 Helvetica, Arial, "DejaVu Sans", sans-serif; color: #1f2933; max-width: 1100px; margin: 0 auto; padding: 16px; }
h1 { font-size: 22px } .grid { display: flex; gap: 12px; flex-wrap: wrap } figure { margin: 0; width: 150px } img { display: block; max-width: 150px }
figcaption { font-size: 12px; color: #5f6c7b; overflow-wrap: anywhere } strong { color: #1f2933 } code { background: #eef1f5; padding: 1px 4px }`;

/** One HTML page, with everything in it: pictures that are dark, bright, flat or blurred. */
export function renderPicturesPage({ images, found, shown, list }: PicturesPage): string {
  const title = `${thousands(found)} of ${thousands(images)} pictures are dark, bright, flat or blurred`;
  const figures = shown.map(
    ({ path, label, defects, jpeg }) =>
      `<figure><img src="data:image/jpeg;base64,${Buffer.from(jpeg).toString("base64")}" alt="${escapeHtml(path)}"><figcaption><strong>${defects.map(escapeHtml).join(", ")}</strong><br>${escapeHtml(label)}<br>${escapeHtml(path)}</figcaption></figure>`,
  );
  const more = found > shown.length ? ` The first ${shown.length} are shown.` : "";
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
<p>${more} Write <code>exclude</code> or <code>keep</code> into the column <code>action</code> of <code>${escapeHtml(list)}</code>, and run <code>serval data correct --from ${escapeHtml(list)}</code>.</p>
<div class="grid">
${figures.join("\n")}
</div>
</body>
</html>
`;
}
