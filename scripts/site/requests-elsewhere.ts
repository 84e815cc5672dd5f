/** What a browser fetches without being asked, from an address with a host: in HTML and CSS. */
const fetched = [
  /<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\ssrc="(?:https?:)?\/\/[^"]+"/g,
  /<link\b[^>]*?\shref="(?:https?:)?\/\/[^"]+"/g,
  /url\(\s*["']?(?:https?:)?\/\/[^)]+\)/g,
  /@import\s+["'](?:https?:)?\/\/[^"']+/g,
];

/** The places of a built page that ask another host for something. */
export function requestsElsewhere(text: string): string[] {
  return fetched.flatMap((pattern) => [...text.matchAll(pattern)].map(([whole]) => whole.slice(0, 200)));
}
