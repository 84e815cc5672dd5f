/**
 * Makes the npm package in build/package: JavaScript and types instead of the sources, because Node strips no types inside
 * node_modules; and a package.json that points to them.
 *
 *     npm run build:package        then: npm publish build/package
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const target = join(root, "build/package");
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "--project", "tsconfig.package.json"], {
  cwd: root,
  stdio: "inherit",
});
// Of models/ only what is in Git: what else lies in this working folder was not released.
const models = execFileSync("git", ["ls-files", "-z", "models"], { cwd: root, encoding: "utf8" }).split("\0").slice(0, -1);
for (const path of [...models, "README.md", "LICENSE", "NOTICE", "CHANGELOG.md"]) cpSync(join(root, path), join(target, path));
// What the code reads beside itself: pages and the like.
cpSync(join(root, "src"), join(target, "dist"), { recursive: true, filter: (path) => !path.endsWith(".ts") });

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<string, unknown>;
const published = {
  ...manifest,
  // Neither is there any more.
  devDependencies: undefined,
  scripts: undefined,
  bin: { serval: "dist/cli/main.js" },
  exports: { ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } },
  files: ["dist", "models", "NOTICE", "CHANGELOG.md"],
};
writeFileSync(join(target, "package.json"), `${JSON.stringify(published, null, 2)}\n`);
