import { posix } from "node:path";
import { placeOnSite } from "./pages.ts";

export interface SiteLinks {
  /** Files that the site has: pages, and pictures of docs/. */
  readonly files: ReadonlySet<string>;
  /** Address of a file or folder of the repository; without one, links to it become plain text. */
  readonly repository?: string;
}

/** A page of the repository as a page of the site: links lead to other pages of the site, or to the repository. */
export function sitePage(file: string, text: string, links: SiteLinks): string {
  const target = (link: string): string | undefined => siteTarget(file, link, links);
  return text
    .split(/(^```[\s\S]*?^```)/m)
    .map((part, i) => (i % 2 === 1 ? part : withLinks(part, target)))
    .join("");
}

function withLinks(text: string, target: (link: string) => string | undefined): string {
  return text
    .replaceAll(/(!?)\[([^[\]]*)\]\(([^()\s]+)\)/g, (whole, picture: string, shown: string, link: string) => {
      const to = target(link);
      return to === undefined ? (picture === "" ? shown : "") : `${picture}[${shown}](${to})`;
    })
    .replaceAll(/(<img src=")([^"]+)/g, (whole, before: string, link: string) => before + (target(link) ?? link));
}

/** Undefined where neither the site nor a repository has it. */
function siteTarget(file: string, link: string, { files, repository }: SiteLinks): string | undefined {
  if (/^(?:[a-z]+:|#)/.test(link)) return link;
  const [path = "", anchor] = link.split("#");
  const found = posix.normalize(posix.join(posix.dirname(file), path));
  const hash = anchor === undefined ? "" : `#${anchor}`;
  if (files.has(found)) {
    const to = posix.relative(posix.dirname(placeOnSite(file)), placeOnSite(found));
    return `${to.startsWith(".") ? "" : "./"}${to}${hash}`;
  }
  return repository === undefined ? undefined : `${repository}/${found}${hash}`;
}
