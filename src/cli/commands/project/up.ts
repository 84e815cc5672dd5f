import { Option } from "commander";
import type { Settings } from "../../../config/settings.ts";
import { releasedModels } from "../../../model/resolve-model.ts";
import { formatDuration } from "../../../workflows/format-duration.ts";
import { trackBeside } from "../../../workflows/service/track-beside.ts";
import type { Configure } from "../../command.ts";
import { addressOptions, settingsWith, type AddressOptions } from "../../options/address.ts";
import type { Output } from "../../output.ts";
import { serveUntilStopped } from "../../serve-until-stopped.ts";

interface UpOptions {
  readonly cwd: string;
  /** Train and serve the drawn sample even where a model is released. */
  readonly sample: boolean;
  /** The user's own labelled images: train on them and serve the result. */
  readonly data: string | undefined;
  readonly settings: Settings;
}

export const configure: Configure = (command, context) => {
  addressOptions(command)
    .option("--data <SOURCE>", "train on your own images and serve the result: a folder with one subfolder per class, a zip, or a URL")
    .addOption(
      new Option("--sample", "draw the built-in sample, train on it and serve that, also where a model is released").conflicts("data"),
    )
    .action(async ({ data, sample = false, ...address }: AddressOptions & { data?: string; sample?: boolean }) => {
      const { cwd, signal } = context;
      const settings = settingsWith(address);
      const output = context.output();
      // Another tracking server shows its own pages.
      const tracking = settings.mlflowTrackingUri === null ? await trackBeside(cwd, settings, output) : undefined;
      try {
        const model = await findOrMake({ cwd, sample, data, settings }, output, signal);
        await serveUntilStopped({ cwd, model, settings }, output, signal);
      } finally {
        await tracking?.close();
      }
    });
};

/** The folder of a model that was made for this; undefined where a model is released already. */
async function findOrMake(options: UpOptions, output: Output, signal: AbortSignal): Promise<string | undefined> {
  const { cwd, sample, data, settings } = options;
  const shared = { cwd, stateDir: settings.stateDir, reporter: output, signal };
  // Loaded here, because a released model must be served without waiting for the code that trains.
  if (data !== undefined) {
    const { buildOwnModel } = await import("../../../workflows/project/build-own-model.ts");
    const { describeOwnModel } = await import("../../describe/own-model.ts");
    const made = await buildOwnModel({ ...shared, data, onStep: (event) => output.line(describeOwnModel(event)) });
    output.line(`\nFrom images to a model in ${formatDuration(made.seconds)}. \`serval models release\` keeps it as a release.`);
    return made.dir;
  }
  if (!sample && (settings.model !== null || (await releasedModels(cwd)).length > 0)) return undefined;
  if (!sample) output.line("No model is released in models/ yet: drawing a sample as a demonstration.");
  const { makeSampleModel } = await import("../../../workflows/project/sample-model.ts");
  return await makeSampleModel(shared);
}
