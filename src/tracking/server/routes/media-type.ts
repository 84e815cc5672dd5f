import { extname } from "node:path";

const types: Readonly<Record<string, string>> = {
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".webp": "image/webp",
  ".gif": "image/gif",
  ".svg": "image/svg+xml",
  ".json": "application/json",
};
const texts = new Set([".txt", ".csv", ".yaml", ".yml", ".md", ".log", ".py", ".toml", ".ini", ".tsv", ".jsonl"]);

/** What a download says it is. MLmodel files have no ending. */
export function mediaType(name: string): string {
  const ending = extname(name).toLowerCase();
  if (texts.has(ending) || ["MLmodel", "MLproject"].includes(name)) return "text/plain; charset=utf-8";
  return types[ending] ?? "application/octet-stream";
}

export function isPicture(name: string): boolean {
  return mediaType(name).startsWith("image/");
}
