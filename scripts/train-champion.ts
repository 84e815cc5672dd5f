/**
 * Trains the released model again as recipes/cats-dogs says: `npm run long:champion [-- SOURCE]`, where SOURCE is a zip or
 * folder in place of the recipe's public download. Works in artifacts/champion, and continues there where an earlier start of
 * the same recipe was stopped. About an hour on two cores; releasing what comes out is left to you.
 */
import { copyFile, mkdir, rm, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { readIfThere, listIfThere } from "../src/files.ts";
import { stateDirectory } from "../src/config/env.ts";
import { provenanceFile } from "../src/model/manifest.ts";
import { runVerb } from "./run-verb.ts";

const root = join(import.meta.dirname, "..");
const recipe = join(root, "recipes", "cats-dogs");
const folder = join(root, "artifacts", "champion");
const [source] = process.argv.slice(2);

await mkdir(folder, { recursive: true });
const isSameRecipe = (await readIfThere(join(folder, "params.yaml"))) === (await readIfThere(join(recipe, "params.yaml")));
await copyFile(join(recipe, "params.yaml"), join(folder, "params.yaml"));
// Looks at the test split are written down where all of them are.
await rm(join(folder, "docs"), { force: true });
await symlink(join(root, "docs"), join(folder, "docs"));
await runVerb(folder, "data", "import", ...(source === undefined ? [] : [/^[a-z0-9]+:/.test(source) ? source : resolve(source)]));
await runVerb(folder, "prepare");
const latest = (await listIfThere(resolve(folder, stateDirectory(), "runs"))).toSorted().at(-1);
const trained = (await readIfThere(join(folder, "artifacts", "best", provenanceFile))) ?? "{}";
const isFinished = (JSON.parse(trained) as { run?: string }).run === latest;
await runVerb(folder, "train", ...(latest !== undefined && isSameRecipe && !isFinished ? ["--resume", latest] : []));
await runVerb(folder, "evaluate");
console.log(`Look at artifacts/champion/artifacts/evaluation, write down in recipes/cats-dogs/known-failures.md what its mistakes show, then release it:
  npm run serval -- models release artifacts/champion/artifacts/best --evaluation artifacts/champion/artifacts/evaluation \\
    --known-failures recipes/cats-dogs/known-failures.md`);
