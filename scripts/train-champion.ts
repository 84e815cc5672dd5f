/**
 * Trains the released model again as recipes/cats-dogs says: `npm run long:champion [-- SOURCE]`, where SOURCE is a zip or
 * folder in place of the recipe's public download. Works in artifacts/champion, and goes on there where an earlier start of
 * it was stopped. About two hours on two cores; releasing what comes out is left to you.
 */
import { spawn } from "node:child_process";
import { copyFile, mkdir, readdir, rm, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";

const root = join(import.meta.dirname, "..");
const recipe = join(root, "recipes", "cats-dogs");
const folder = join(root, "artifacts", "champion");
const [source] = process.argv.slice(2);

await mkdir(folder, { recursive: true });
await copyFile(join(recipe, "params.yaml"), join(folder, "params.yaml"));
// Looks at the test split are written down where all of them are.
await rm(join(folder, "docs"), { force: true });
await symlink(join(root, "docs"), join(folder, "docs"));
await serval("data", "import", ...(source === undefined ? [] : [/^[a-z0-9]+:/.test(source) ? source : resolve(source)]));
await serval("prepare");
const runs = await readdir(join(folder, ".serval", "runs")).catch(() => []);
await serval("train", ...(runs.length > 0 ? ["--resume"] : []));
await serval("evaluate");
console.log(`Look at artifacts/champion/artifacts/evaluation, then release it:
  npm run serval -- models release artifacts/champion/artifacts/best --evaluation artifacts/champion/artifacts/evaluation \\
    --known-failures recipes/cats-dogs/known-failures.md`);

/** Runs a verb in the folder; ends this script with its exit code when it fails. */
async function serval(...verb: string[]): Promise<void> {
  console.log(`> serval ${verb.join(" ")}`);
  const child = spawn(process.execPath, [join(root, "src", "cli", "main.ts"), ...verb], { cwd: folder, stdio: "inherit" });
  // A signal from the keyboard reaches both; the verb decides when it is through.
  const ignore = (): void => undefined;
  process.on("SIGINT", ignore);
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  const code = await new Promise<number>((resolve) => child.once("close", (exit) => resolve(exit ?? 1)));
  process.off("SIGINT", ignore);
  if (code !== 0) process.exit(code);
}
