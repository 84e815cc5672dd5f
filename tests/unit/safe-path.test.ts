import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, posix, win32 } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { safeName, safePath } from "../../src/data/layout/entry-names.ts";
import { findPathFault, isSafePath, LinkGuard, readLink, resolveBelow } from "../../src/safe-path.ts";

/** Names of the tools and of devices, and what is the folder itself or the one above it. */
const forbidden = /^(\.git|\.dvc|\.serval|(git|dvc|serval)~\d+|con|prn|aux|nul|com\d|lpt\d|[. ]*)$/;

/** How file systems compare names: HFS+ leaves out what is not seen, APFS folds, NTFS drops streams and what is at the end. */
function readings(name: string): string[] {
  const unseen = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;
  const ntfs = (name.split(":")[0] ?? "").replace(/[. ]+$/, "");
  return [name, ntfs].flatMap((text) =>
    [text, text.normalize("NFC"), text.normalize("NFD"), text.replaceAll(unseen, "")].flatMap((one) => [
      one.toLowerCase(),
      one.toUpperCase().toLowerCase(),
    ]),
  );
}

/** Pieces that attacks are made of, between any characters at all. */
const piece = fc.oneof(
  fc.constantFrom(
    "..",
    ".",
    "/",
    "\\",
    ".git",
    ".GIT",
    ".dvc",
    ".Serval",
    "git~1",
    "DVC~2",
    " ",
    ":",
    "::$DATA",
    "C:",
    "nul",
    "COM1",
    "\0",
  ),
  fc.constantFrom("\u200b", "\u200d", "\u0131", "\u017f", "\u212a", "\uff0e", "\u0301", "\ud800", "\u{1f981}", "a", "data", ".txt", "..."),
  fc.string({ unit: "binary", maxLength: 4 }),
);
const path = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));
const runs = { numRuns: 1_000 };

describe("a path that is accepted", () => {
  test("resolves to a place below any folder, on every system", () => {
    fc.assert(
      fc.property(path, (text) => {
        if (!isSafePath(text)) return;
        expect(posix.resolve("/srv/folder", text).startsWith("/srv/folder/")).toBe(true);
        expect(win32.resolve("C:\\root\\folder", text).startsWith("C:\\root\\folder\\")).toBe(true);
        expect(posix.normalize(text)).toBe(text);
      }),
      runs,
    );
  });

  test("has no name of the tools, however a file system reads it", () => {
    fc.assert(
      fc.property(path, (text) => {
        if (!isSafePath(text)) return;
        const bad = text.split("/").filter((name) => readings(name).some((reading) => forbidden.test(reading)));
        expect(bad).toEqual([]);
        expect(text).not.toMatch(/[\p{Cc}\\]/u);
      }),
      runs,
    );
  });

  test("stays accepted, and the same, when it is resolved from the folder above it", () => {
    fc.assert(
      fc.property(path, (text) => {
        if (!isSafePath(text)) return;
        expect(resolveBelow("", text)).toEqual({ path: text });
        expect(resolveBelow("sub", `../${text}`)).toEqual({ path: text });
      }),
      runs,
    );
  });
});

test("with any name allowed, a path still resolves to a place below any folder of Linux, and what was accepted is", () => {
  fc.assert(
    fc.property(path, (text) => {
      const fault = findPathFault(text, { anyName: true });
      expect(isSafePath(text) && fault !== undefined).toBe(false);
      if (fault !== undefined) return;
      expect(posix.resolve("/srv/folder", text).startsWith("/srv/folder/")).toBe(true);
      expect(posix.normalize(text)).toBe(text);
      expect(text).not.toContain("\0");
    }),
    runs,
  );
  expect([".git/hooks", "aux.json", "a\\b", "a\u001bb", "..."].map((text) => findPathFault(text, { anyName: true }))).toEqual(
    Array.from({ length: 5 }),
  );
  expect(["..", "a/../b", "/a", "a//b", ""].filter((text) => findPathFault(text, { anyName: true }) === undefined)).toEqual([]);
});

test("whatever is resolved is safe, the root itself, or refused", () => {
  fc.assert(
    fc.property(fc.constantFrom("", ".", "sub", "a/b"), path, (dir, text) => {
      const { path: resolved, fault } = { path: undefined, ...resolveBelow(dir, text) };
      expect(fault !== undefined || resolved === "" || isSafePath(resolved ?? "..")).toBe(true);
    }),
    runs,
  );
});

test.each([
  "data/raw/1.jpg",
  "Grüße/Übung.jpg",
  "Gru\u0308ße.jpg",
  "with blanks/in  it.txt",
  " leading",
  "dots.in.the.name",
  "..hidden",
  "...and so on.txt",
  ".gitignore",
  ".gitkeep",
  ".github/workflows",
  "git/config",
  "data.dvc",
  "dvc.yaml",
  "my.git",
  "Dr. Who",
  "Dr.",
  "12:30.jpg",
  "日本語",
  "👩‍👩‍👧",
  "🦁.png",
  "it's #1 (100%)",
  "what?*.txt",
  "console",
  "nullable.ts",
  "com",
  "~",
  "git~x",
  "-rf",
  "x".repeat(255),
])("the ordinary name %j is accepted", (name) => expect(findPathFault(name)).toBe(undefined));

test.each([
  ["", "is empty"],
  ["a\0b", "holds a control character"],
  ["a\u0085b", "holds a control character"],
  ["a\\b", "holds a backslash"],
  ["/etc/passwd", "is absolute"],
  ["a//b", "holds two slashes"],
  ["a/", "holds two slashes in a row, or ends in one"],
  ["a/../b", 'holds the name ".."'],
  ["./a", 'holds the name "."'],
  ["...", 'holds the name "..."'],
  [". .", 'holds the name ". ."'],
  ["\u200b", "which is not that of a file"],
  [":stream", "which is not that of a file"],
  [".git/config", 'holds ".git", a folder of the tools themselves'],
  ["sub/.Git /x", 'holds ".Git "'],
  [".git::$INDEX_ALLOCATION/x", "a folder of the tools"],
  [".git.:x", "a folder of the tools"],
  [".g\u200cit", "a folder of the tools"],
  [".g\u0131t", "a folder of the tools"],
  [".\u017ferval", "a folder of the tools"],
  ["\uff0egit", "a folder of the tools"],
  ["GIT~1", "a folder of the tools"],
  ["dvc~3/x", "a folder of the tools"],
  ["NUL", "the name of a device"],
  ["aux.h", "the name of a device"],
  ["con .txt", "the name of a device"],
  ["com\u00b9", "the name of a device"],
  ["C:/x", "begins with a drive letter"],
  ["c:x", "begins with a drive letter"],
  ["\ud800", "holds half of a character"],
  ["x".repeat(256), "more than 255 bytes"],
  ["x/".repeat(1600) + "x", "more than 3072 bytes"],
])("%j is refused: it %s", (name, fault) => expect(findPathFault(name)).toContain(fault));

test("`..` is fine where the result is, and outside it is not", () => {
  expect(resolveBelow("sub", "../data/x/")).toEqual({ path: "data/x" });
  expect(resolveBelow("sub", "..")).toEqual({ path: "" });
  expect(resolveBelow("", ".")).toEqual({ path: "" });
  expect(resolveBelow("sub/deeper", "../../..")).toEqual({ fault: "lies outside the repository" });
  expect(resolveBelow("", "../clone/x")).toEqual({ fault: "lies outside the repository" });
  expect(resolveBelow("sub", "../.git/x").fault).toContain("a folder of the tools");
  expect(resolveBelow("sub", "/x")).toEqual({ fault: "is absolute" });
});

test("the names that an import gives are safe, whatever those in the source are", () => {
  fc.assert(
    fc.property(path, (text) => {
      const name = safeName(text.replaceAll("/", ""));
      expect(name === "" || isSafePath(name)).toBe(true);
      expect(isSafePath(safePath(text))).toBe(true);
      expect(safePath(safePath(text))).toBe(safePath(text));
    }),
    runs,
  );
  expect(["con.jpg", "git~1", "x".repeat(300) + ".jpg", "a:b."].map(safeName)).toEqual([
    "_con.jpg",
    "_git~1",
    `${"x".repeat(180)}.jpg`,
    "a_b_",
  ]);
});

describe("the guard against links", () => {
  let root: string;
  beforeAll(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), "serval-guard-")));
    await mkdir(join(root, "disk/real"), { recursive: true });
    await mkdir(join(root, "repository/plain"), { recursive: true });
    await writeFile(join(root, "disk/file"), "x");
    await symlink("../disk", join(root, "repository/link"));
    await symlink("../disk/file", join(root, "repository/file"));
    await symlink("../gone", join(root, "repository/dangling"));
  });
  afterAll(() => rm(root, { recursive: true, force: true }));

  const check = async (path: string, asFolder = false, links: readonly string[] = []): Promise<string> => {
    const repository = join(root, "repository");
    const followed = await Promise.all(links.map(async (link) => [link, (await readLink(join(repository, link)))!] as const));
    return await new LinkGuard(repository, new Map(followed)).check(path, asFolder).then(
      () => "fine",
      ({ code, message }: { code: string; message: string }) => `${code}: ${message}`,
    );
  };

  test.each([
    ["plain/x", false],
    ["not/there/yet", true],
    ["file", false],
    ["file", true],
    ["dangling", false],
  ])("lets %j pass (as a folder: %s)", async (path, asFolder) => expect(await check(path, asFolder)).toBe("fine"));

  test("names the link, where it leads, and what was not written", async () => {
    expect(await check("link/real/x")).toBe(
      `E_PATH_LINK: "link" is a link to "${join(root, "disk")}": expected a folder. Nothing was written to "link/real/x".`,
    );
    expect(await check("link")).toBe(`E_PATH_LINK: "link" is a link to "${join(root, "disk")}": expected a folder.`);
    expect(await check("dangling", true)).toContain('"dangling" is a link to "a place that is not there"');
    expect(await check("file/x")).toContain('"file" is a link to');
  });

  test("follows a link that was allowed, and no other", async () => {
    expect(await check("link/real/x", false, ["link"])).toBe("fine");
    await symlink("real", join(root, "disk/second"));
    expect(await check("link/second/x", false, ["link"])).toContain('"link/second" is a link to');
  });

  test("does not follow a link that was made again, even to the same place", async () => {
    const repository = join(root, "repository");
    const before = (await readLink(join(repository, "link")))!;
    await rm(join(repository, "link"));
    await symlink("../disk", join(repository, "link"));
    await expect(new LinkGuard(repository, new Map([["link", before]])).check("link/x")).rejects.toMatchObject({
      code: "E_PATH_LINK",
      hint: expect.stringContaining("--follow-link link") as string,
    });
  });
});
