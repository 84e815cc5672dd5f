/**
 * Makes a site of README.md, docs/ and their pictures in site/build/site, with a search that needs no server:
 *
 *     npm run docs:site
 *
 * VitePress is installed in site/ when it is not there. SITE_BASE is the path that the site is published below (default: /), and
 * SITE_REPOSITORY the address that links to sources lead to; without it they are plain text.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { groups, placeOnSite } from "./site/pages.ts";
import { requestsElsewhere } from "./site/requests-elsewhere.ts";
import { sitePage } from "./site/site-page.ts";

const root = join(import.meta.dirname, "..");
const site = join(root, "site");
const pages = join(site, "build/pages");
const built = join(site, "build/site");

if (!existsSync(join(site, "node_modules/vitepress"))) npm("ci", "--ignore-scripts", "--no-audit", "--no-fund");
writePages();
build();
checkRequests();
console.log(`The site is in site/build/site. To look at it: npx --prefix site vitepress preview site`);

/** VitePress reports a page that cannot be rendered, and still ends with 0. */
function build(): void {
  const program = join(site, "node_modules/vitepress/bin/vitepress.js");
  const { status, stderr } = spawnSync(process.execPath, [program, "build", site], {
    stdio: ["ignore", "inherit", "pipe"],
    encoding: "utf8",
  });
  process.stderr.write(stderr);
  if (status !== 0 || /^\w*Error: /m.test(stderr)) throw new Error("VitePress could not make every page: see above.");
}

function writePages(): void {
  rmSync(join(site, "build"), { recursive: true, force: true });
  const files = groups().flatMap((group) => group.files);
  const pictures = readdirSync(join(root, "docs/images")).map((name) => `docs/images/${name}`);
  const repository = process.env["SITE_REPOSITORY"];
  const links = { files: new Set([...files, ...pictures, "docs/openapi.json"]), ...(repository === undefined ? {} : { repository }) };
  for (const file of files) {
    const target = join(pages, placeOnSite(file));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, sitePage(file, readFileSync(join(root, file), "utf8"), links));
  }
  cpSync(join(root, "docs/images"), join(pages, "images"), { recursive: true });
  // A file that is linked, not a page: it is copied as it is.
  mkdirSync(join(pages, "public"));
  cpSync(join(root, "docs/openapi.json"), join(pages, "public/openapi.json"));
}

/** The pages of the site ask no other host for anything. Links that a reader follows may lead there. */
function checkRequests(): void {
  const names = readdirSync(built, { recursive: true, encoding: "utf8" }).filter((name) => /\.(?:html|css)$/.test(name));
  const found = names.flatMap((name) => requestsElsewhere(readFileSync(join(built, name), "utf8")).map((request) => `${name}: ${request}`));
  if (found.length > 0) throw new Error(`Pages of the site ask other hosts:\n${found.join("\n")}`);
}

function npm(...command: string[]): void {
  execFileSync("npm", command, { cwd: site, stdio: "inherit" });
}
