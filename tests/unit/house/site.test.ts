import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { groups, sidebar } from "../../../scripts/site/pages.ts";
import { requestsElsewhere } from "../../../scripts/site/requests-elsewhere.ts";
import { sitePage } from "../../../scripts/site/site-page.ts";

const root = join(import.meta.dirname, "../../..");
const pages = groups().flatMap((group) => group.files);

test("the site has every page of docs/ and docs/notes/, once", () => {
  const files = ["docs", "docs/notes"].flatMap((folder) => readdirSync(join(root, folder)).map((name) => `${folder}/${name}`));
  expect(pages.filter((page) => page.startsWith("docs/")).sort()).toEqual(files.filter((name) => name.endsWith(".md")).sort());
  expect(sidebar().map(({ items }) => items[0])).toEqual([
    { text: "Serval", link: "/" },
    { text: "Few photographs", link: "/fine-tuning" },
    { text: "The command line", link: "/cli" },
    { text: "Architecture", link: "/architecture" },
    expect.objectContaining({ link: expect.stringMatching(/^\/notes\//) as string }) as object,
  ]);
});

test("links of a page lead to other pages of the site, to the repository, or become text", () => {
  const files = new Set(["README.md", "docs/service.md", "docs/notes/a.md", "docs/images/x.png"]);
  const text = "[a](docs/service.md#keys) [b](src/index.ts) [c](https://example.org) [d](#below)\n\n```sh\n[e](src/x.ts)\n```\n";
  expect(sitePage("README.md", text, { files })).toBe(
    "[a](./service.md#keys) b [c](https://example.org) [d](#below)\n\n```sh\n[e](src/x.ts)\n```\n",
  );
  const repository = "https://example.org/serval/blob/main";
  expect(sitePage("docs/notes/a.md", "[a](../service.md) [b](../../src/index.ts)", { files, repository })).toBe(
    "[a](../service.md) [b](https://example.org/serval/blob/main/src/index.ts)",
  );
  expect(sitePage("docs/service.md", '<img src="images/x.png" alt="x">\n[r](../README.md)', { files })).toBe(
    '<img src="./images/x.png" alt="x">\n[r](./index.md)',
  );
});

test("a request to another host is found, and a link to one is not", () => {
  expect(requestsElsewhere('<a href="https://example.org">x</a> <img src="/a.png"> url(/b.woff)')).toEqual([]);
  const asked = ['<script src="https://cdn.example.org/a.js">', 'url("//fonts.example.org/a")', '@import "https://example.org/a.css"'];
  expect(asked.map((text) => requestsElsewhere(text).length)).toEqual([1, 1, 1]);
});
