import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { editParams, mustRun } from "../helpers/pattern-project.ts";
import { pythonProgram } from "./python.ts";

const repository = join(import.meta.dirname, "../..");

/** A Git repository in its own folder, with the real dvc and with `npx serval`, as users have them. */
export interface DvcRepository {
  readonly cwd: string;
  /** Runs a program and returns its stdout; a failure shows all that it printed. */
  run(program: string, ...args: readonly string[]): Promise<string>;
  dvc(...args: readonly string[]): Promise<string>;
  serval(...args: readonly string[]): Promise<string>;
  git(...args: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

export async function createDvcRepository(): Promise<DvcRepository> {
  const cwd = await mkdtemp(join(tmpdir(), "serval-dvc-"));
  // What `npm install PATH/TO/serval` leaves: a link, and the command.
  await mkdir(join(cwd, "node_modules/.bin"), { recursive: true });
  await symlink(repository, join(cwd, "node_modules/serval"), "dir");
  await symlink("../serval/src/cli/main.ts", join(cwd, "node_modules/.bin/serval"));
  const path = [join(repository, "node_modules/.bin"), dirname(pythonProgram("dvc")), process.env["PATH"]].join(delimiter);
  const site = join(cwd, ".dvc/tmp/site");
  const env = { ...process.env, PATH: path, DVC_NO_ANALYTICS: "1", DVC_SITE_CACHE_DIR: site, NO_UPDATE_NOTIFIER: "1" };
  const run: DvcRepository["run"] = async (program, ...args) => {
    const { stdout } = await promisify(execFile)(program, args, { cwd, env, maxBuffer: 1 << 26 }).catch(
      (error: Error & { stdout?: string; stderr?: string }) => {
        throw new Error(`${program} ${args.join(" ")} failed:\n${error.stdout ?? ""}\n${error.stderr ?? error.message}`);
      },
    );
    return stdout;
  };
  const git: DvcRepository["git"] = async (...args) => await run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", ...args);
  await git("init", "--quiet");
  return {
    cwd,
    run,
    git,
    dvc: async (...args) => await run(pythonProgram("dvc"), ...args),
    serval: async (...args) => await run(process.execPath, join(repository, "src/cli/main.ts"), ...args),
    remove: () => rm(cwd, { recursive: true, force: true }),
  };
}

/** What `serval init` makes for the drawn sample, with a network that trains in seconds. */
export async function initDrawings({ cwd }: DvcRepository): Promise<void> {
  await mustRun(cwd, ["init", "--images", "sample", "--name", "drawings"]);
  const small = { width: "32", height: "32", channels: "[16, 16, 16, 16]", cropSize: "32", sizes: "[32]", batchSize: "16", epochs: "2" };
  await editParams(cwd, small);
}
