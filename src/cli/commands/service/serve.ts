import { describeVariables, type Settings } from "../../../config/settings.ts";
import type { Configure } from "../../command.ts";
import { addressOptions, settingsWith, type AddressOptions } from "../../options/address.ts";
import { serveUntilStopped } from "../../serve-until-stopped.ts";

/** The settings that only the service reads, for its --help. */
const serveSettings = [
  "workers",
  "queueLimit",
  "requestTimeoutMs",
  "uploadTimeoutMs",
  "maxBodyBytes",
  "maxPixels",
  "maxDecodeMs",
  "maxBatchSize",
  "maxDelayMs",
  "hosts",
  "apiKeysFile",
  "admin",
  "rateLimit",
  "proxies",
  "basePath",
  "corsOrigins",
  "abstain",
  "drainMs",
  "modelPollMs",
  "stateDir",
  "predictionsUrl",
  "predictionsPasswordFile",
  "predictionsKeepDays",
  "predictionsMaxBytes",
  "logLevel",
  "logFile",
] as const satisfies readonly (keyof Settings)[];

export const configure: Configure = (command, context) => {
  addressOptions(command)
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .option("--follow", "serve what replaces a trained model (artifacts/best) too; released and registered models are followed anyway")
    .addHelpText("after", () => `\nThe environment sets the rest:\n${describeVariables(serveSettings)}`)
    .action(async ({ model, follow, ...address }: AddressOptions & { model?: string; follow?: boolean }) => {
      await serveUntilStopped({ cwd: context.cwd, model, follow, settings: settingsWith(address) }, context.output(), context.signal);
    });
};
