import { renderSvg } from "../image/render.ts";

const side = 160;

/** Plain drawings that exercise colour, edges, texture and an aspect ratio that is not square. */
const drawings: Readonly<Record<string, string>> = {
  "disc.jpg": svg(
    side,
    side,
    `<rect width="100%" height="100%" fill="#d8c7a0"/><circle cx="80" cy="84" r="52" fill="#8a4b21"/><circle cx="62" cy="72" r="9" fill="#111"/><circle cx="98" cy="72" r="9" fill="#111"/>`,
  ),
  "stripes.jpg": svg(
    side,
    side,
    `<rect width="100%" height="100%" fill="#2d6a4f"/>${Array.from({ length: 8 }, (_, k) => `<rect x="${k * 20}" width="10" height="160" fill="#f1faee" transform="rotate(${k * 4} 80 80)"/>`).join("")}`,
  ),
  "wide.jpg": svg(
    220,
    120,
    `<defs><linearGradient id="g"><stop offset="0" stop-color="#0b1d51"/><stop offset="1" stop-color="#ffb703"/></linearGradient></defs><rect width="100%" height="100%" fill="url(#g)"/><path d="M20 110 L70 30 L110 110 Z M120 110 L170 50 L210 110 Z" fill="#3a3a3a"/>`,
  ),
  "pale.png": svg(
    side,
    side,
    `<rect width="100%" height="100%" fill="#f4f1ee"/><ellipse cx="84" cy="90" rx="58" ry="38" fill="#e2dcd5"/><path d="M40 60 L56 20 L72 60 Z M100 60 L116 20 L132 60 Z" fill="#cfc6bd"/>`,
  ),
};

function svg(width: number, height: number, content: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${content}</svg>`;
}

/**
 * The pictures that a bundle carries with the model's answers to them, by file name. They show nothing that a model was
 * trained for, because only the sameness of the answers counts.
 */
export async function drawCheckImages(): Promise<Record<string, Uint8Array>> {
  const files = Object.entries(drawings).map(
    async ([file, drawing]) => [file, await renderSvg(drawing, { format: file.endsWith(".png") ? "png" : "jpeg" })] as const,
  );
  return Object.fromEntries(await Promise.all(files));
}
