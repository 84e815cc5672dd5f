import { basename, join, resolve } from "node:path";
import { stateDirectory } from "../../config/env.ts";
import { writeFileAtomic } from "../../files.ts";
import { renderPlotsPage } from "../../pipeline/history/plots-page.ts";
import type { UseCaseOptions } from "../reporter.ts";
import { withVersions } from "./compare-versions.ts";

export interface DrawPlotsOptions extends UseCaseOptions {
  /** Branches, tags or commits to show beside the workspace. */
  readonly revisions?: readonly string[] | undefined;
  /** Default: true. */
  readonly workspace?: boolean | undefined;
  /** Where the page goes, relative to `cwd`. Default: plots.html in the state folder. */
  readonly out?: string | undefined;
}

/** Draws parameters, metrics and curves of versions side by side, as one page. Returns its path. */
export async function drawPlots(options: DrawPlotsOptions): Promise<string> {
  const { cwd, revisions = [], workspace = true, out = join(stateDirectory(), "plots.html") } = options;
  const file = resolve(cwd, out);
  // The workspace comes last, as what the others are compared with.
  const shown = [...revisions, ...(workspace || revisions.length === 0 ? [undefined] : [])];
  await withVersions(options, shown, (versions) => writeFileAtomic(file, renderPlotsPage(basename(cwd), versions)));
  return file;
}
