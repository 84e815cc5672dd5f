import { statSync } from "node:fs";
import { resolve } from "node:path";
import { Option } from "commander";
import { ServalError } from "../../../errors/serval-error.ts";
import { streamPredictions, type PredictedImage } from "../../../workflows/model/predict-images.ts";
import { silentReporter, type Reporter } from "../../../workflows/reporter.ts";
import type { Configure } from "../../command.ts";
import { PredictionLines, predictionCsvHead, predictionCsvLine } from "../../describe/predictions.ts";

interface PredictFlags {
  readonly model?: string;
  readonly json?: boolean;
  readonly jsonl?: boolean;
  readonly csv?: boolean;
}

export const configure: Configure = (command, context) => {
  command
    .argument("<IMAGE...>", "picture files, folders, patterns such as 'photos/*.jpg', or - for a list on standard input, one name a line")
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .option("--json", "print the result as JSON, when all answers are there")
    .addOption(new Option("--jsonl", "print each answer as it comes, as a line of JSON").conflicts("json"))
    .addOption(new Option("--csv", "print each answer as it comes, as a line of CSV").conflicts(["json", "jsonl"]))
    .addHelpText(
      "after",
      "\nFor a folder of many pictures, `serval score FOLDER --out FILE` writes a file and continues where it was stopped.",
    )
    .action(async (images: string[], { model, ...format }: PredictFlags) => {
      const output = context.output(format);
      const lines = new PredictionLines(images);
      const show = format.csv ? predictionCsvLine : format.jsonl ? JSON.stringify : (answer: PredictedImage): string => lines.line(answer);
      if (format.csv) output.line(predictionCsvHead);
      // On a terminal the answers themselves show how far it is.
      const reporter: Reporter = format.json || !process.stdout.isTTY ? output : { ...silentReporter, warn: (text) => output.warn(text) };
      const input = images.includes("-") ? process.stdin : undefined;
      const kept: PredictedImage[] = [];
      let [count, refused] = [0, 0];
      for await (const answer of streamPredictions({
        cwd: context.cwd,
        images,
        input,
        model,
        reporter,
        signal: context.signal,
      })) {
        count++;
        if ("error" in answer) refused++;
        if (format.json) kept.push(answer);
        else output.line(show(answer));
      }
      if (format.json) output.result(kept, "");
      const folder = images.find((image) => statSync(resolve(context.cwd, image), { throwIfNoEntry: false })?.isDirectory());
      if (folder !== undefined) {
        output.warn(`For many pictures: \`serval score ${folder} --out scores.csv\` writes a file and continues where it was stopped.`);
      }
      if (refused > 0) throw new ServalError("E_FILES_REFUSED", `${refused} of ${count} files could not be used.`);
    });
};
