import { encodePng, renderSvg } from "../image/render.ts";
import { escapeHtml } from "../text.ts";

export interface ContactTile {
  /** uint8 RGB [height, width, 3]. */
  readonly pixels: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** Lines below the picture; the first one is bold. */
  readonly caption: readonly string[];
}

const columns = 6;
const tileSide = 150;
const gap = 14;
const lineHeight = 16;
const titleHeight = 62;
/** What fits below a tile at the caption's size; longer labels end in an ellipsis. */
const captionCharacters = 22;

/** A sheet of small pictures with captions as one SVG; the pictures lie inside it as PNG. */
export async function contactSheetSvg(title: string, subtitle: string, tiles: readonly ContactTile[]): Promise<string> {
  const lines = Math.max(0, ...tiles.map(({ caption }) => caption.length));
  const used = Math.max(3, Math.min(columns, tiles.length));
  const cellHeight = tileSide + lines * lineHeight + gap + 6;
  const width = gap + used * (tileSide + gap);
  const height = titleHeight + Math.max(1, Math.ceil(tiles.length / used)) * cellHeight + 4;
  const cells = await Promise.all(
    tiles.map(async (tile, i) => {
      const x = gap + (i % used) * (tileSide + gap);
      const y = titleHeight + Math.floor(i / used) * cellHeight;
      const png = await encodePng(tile.pixels, tile.width, tile.height);
      const scale = tileSide / Math.max(tile.width, tile.height);
      const [w, h] = [tile.width * scale, tile.height * scale];
      const text = tile.caption.map((line, n) => {
        const style = n === 0 ? 'font-weight="bold" fill="#1f2933"' : 'fill="#5f6c7b"';
        return `<text x="${x}" y="${y + tileSide + (n + 1) * lineHeight}" font-size="11.5" ${style}>${escapeHtml(shorten(line))}</text>`;
      });
      return (
        `<rect x="${x}" y="${y}" width="${tileSide}" height="${tileSide}" fill="#eef1f5"/>` +
        `<image x="${x + (tileSide - w) / 2}" y="${y + (tileSide - h) / 2}" width="${w}" height="${h}" href="data:image/png;base64,${png.toString("base64")}"/>` +
        text.join("")
      );
    }),
  );
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif">` +
    `<rect width="${width}" height="${height}" fill="#ffffff"/>` +
    `<text x="${gap}" y="26" font-size="16" font-weight="bold" fill="#1f2933">${escapeHtml(title)}</text>` +
    `<text x="${gap}" y="46" font-size="12" fill="#5f6c7b">${escapeHtml(subtitle)}</text>` +
    `${cells.join("")}</svg>`
  );
}

/** The sheet as a JPEG: it holds photographs. */
export async function contactSheetJpeg(title: string, subtitle: string, tiles: readonly ContactTile[]): Promise<Buffer> {
  return await renderSvg(await contactSheetSvg(title, subtitle, tiles), { format: "jpeg", quality: 88, scale: 1.5 });
}

function shorten(text: string): string {
  const characters = Array.from(text);
  return characters.length <= captionCharacters ? text : `${characters.slice(0, captionCharacters - 1).join("")}…`;
}
