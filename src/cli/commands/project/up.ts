import { Option } from "commander";
import type { Settings } from "../../../config/settings.ts";
import { releasedModels } from "../../../model/resolve-model.ts";
import type { Configure } from "../../command.ts";
import type { Output } from "../../output.ts";
import { addressOptions, serveModel, settingsWith, type AddressOptions } from "../service/serve.ts";
import { trackBeside } from "../registry/track.ts";

export interface UpOptions {
  /** The working repository. */
  readonly cwd: string;
  /** Train and serve the drawn sample even where a model is released. */
  readonly sample: boolean;
  /** Labelled images of one's own: train on them and serve the result. */
  readonly data?: string | undefined;
  readonly settings: Settings;
}

export const configure: Configure = (command, context) => {
  addressOptions(command)
    .option("--data <SOURCE>", "train on your own images and serve the result: a folder with one subfolder per class, a zip, or a URL")
    .addOption(
      new Option("--sample", "draw the built-in sample, train on it and serve that, also where a model is released").conflicts("data"),
    )
    .action(async (options: AddressOptions & { data?: string; sample?: boolean }) => {
      const { data, sample = false } = options;
      await up({ cwd: context.cwd, sample, data, settings: settingsWith(options) }, context.output(), context.signal);
    });
};

/** Serves the released model, beside the tracking server; where there is none, or on request, makes one from the drawn sample first. */
export async function up(options: UpOptions, output: Output, signal: AbortSignal): Promise<void> {
  const { cwd, settings } = options;
  // With an address of a tracking server of one's own, its pages are there.
  const tracking = settings.mlflowTrackingUri === null ? await trackBeside(cwd, settings, output) : undefined;
  try {
    await serveReleasedOrMade(options, output, signal);
  } finally {
    await tracking?.close();
  }
}

async function serveReleasedOrMade({ cwd, sample, data, settings }: UpOptions, output: Output, signal: AbortSignal): Promise<void> {
  if (data !== undefined) {
    const { buildOwnModel } = await import("../../build-own-model.ts");
    const { openTracking } = await import("../model/train.ts");
    const tracking = await openTracking(cwd, settings, output);
    const model = await buildOwnModel({ cwd, data, stateDir: settings.stateDir, tracking }, output, signal);
    await serveModel({ cwd, model, settings }, output, signal);
    return;
  }
  if (!sample && (settings.model !== null || (await releasedModels(cwd)).length > 0)) {
    await serveModel({ cwd, settings }, output, signal);
    return;
  }
  if (!sample) output.line("No model is released in models/ yet: drawing a sample to show how it goes.");
  // Loaded here, because a released model must be served without waiting for the code that trains.
  const { makeSampleModel } = await import("../../sample-model.ts");
  const { openTracking } = await import("../model/train.ts");
  const tracking = await openTracking(cwd, settings, output);
  await serveModel({ cwd, model: await makeSampleModel(cwd, settings.stateDir, tracking, output, signal), settings }, output, signal);
}
