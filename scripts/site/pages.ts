import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");

export interface Group {
  readonly title: string;
  /** Below the repository, in their order. */
  readonly files: readonly string[];
  readonly collapsed?: boolean;
}

const docs = (...names: readonly string[]): string[] => names.map((name) => `docs/${name}.md`);

const listed = {
  begin: ["README.md"],
  use: docs(
    "fine-tuning",
    "data",
    "data-quality",
    "backbones",
    "tracking",
    "registry",
    "pipeline",
    "service",
    "api",
    "deployment",
    "operations",
    "monitoring",
  ),
  lookUp: [...docs("cli", "configuration", "errors", "accuracy", "upgrading"), "CHANGELOG.md", ...docs("threat-model"), "SECURITY.md"],
  understand: [...docs("architecture", "engine", "checklist"), "CONTRIBUTING.md"],
};

/** The pages of the site, in groups. A new page of docs/ comes after those that are used, until it is listed above. */
export function groups(): Group[] {
  const known = new Set(Object.values(listed).flat());
  const inFolder = (folder: string): string[] =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`);
  return [
    { title: "Begin", files: listed.begin },
    { title: "Use it", files: [...listed.use, ...inFolder("docs").filter((file) => !known.has(file))] },
    { title: "Look it up", files: listed.lookUp },
    { title: "Understand it", files: listed.understand },
    { title: "Measured and tried", files: inFolder("docs/notes"), collapsed: true },
  ];
}

/** Where a page is on the site: README.md at the root, docs/ without its folder. */
export function placeOnSite(file: string): string {
  return file === "README.md" ? "index.md" : file.replace(/^docs\//, "");
}

/** The list at the side, as VitePress takes it. A page is called by its heading, up to the first comma or colon. */
export function sidebar(): { text: string; collapsed: boolean; items: { text: string; link: string }[] }[] {
  return groups().map(({ title, files, collapsed = false }) => ({
    text: title,
    collapsed,
    items: files.map((file) => ({ text: titleOf(file), link: `/${placeOnSite(file).replace(/(?:^index)?\.md$/, "")}` })),
  }));
}

function titleOf(file: string): string {
  return /^# ([^:,\n]+)/m.exec(readFileSync(join(root, file), "utf8"))?.[1] ?? file;
}
