import { setFlagsFromString } from "node:v8";
import type { Configure } from "../../command.ts";
import { describeScores } from "../../describe/scores.ts";
import { ServalError } from "../../../errors/serval-error.ts";
import { parseShard } from "../../options/parse-shard.ts";
import type { Shard } from "../../../workflows/scoring/picture-source.ts";

interface ScoreFlags {
  readonly out: string;
  readonly model?: string;
  readonly column?: string;
  readonly shard?: Shard;
  readonly allowPrivate?: boolean;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  command
    .argument(
      "<SOURCE>",
      "folder, pattern such as 'photos/*.jpg', .zip, .txt with a path on each line, .csv with paths or addresses, s3://BUCKET/PREFIX",
    )
    .requiredOption("--out <FILE>", "the file with a row for each picture, which ends in .jsonl, .csv or .parquet")
    .option("--model <MODEL>", "bundle folder, its model.onnx, a released model's name, or models:/NAME@ALIAS (default: SERVAL_MODEL)")
    .option("--column <NAME>", "column of the CSV file with the paths or addresses (default: path, file, filename, image, url or uri)")
    .option("--shard <K/N>", "score only every Nth picture, from the Kth on: 3/16", parseShard)
    .option("--allow-private", "read addresses of hosts that are not on the public internet as well")
    .option("--json", "print the summary as JSON")
    .addHelpText(
      "after",
      "\nA job that was stopped continues when the same command runs again. A picture that cannot be used is a row with its error.",
    )
    .action(async (source: string, { json, ...flags }: ScoreFlags) => {
      const output = context.output({ json });
      // What is in memory are a few small objects. The part of the heap for new ones would grow by a hundred megabytes before it is tidied.
      setFlagsFromString("--semi-space-growth-factor=1");
      const { scorePictures } = await import("../../../workflows/scoring/score-pictures.ts");
      const report = await scorePictures({ cwd: context.cwd, source, ...flags, reporter: output, signal: context.signal });
      output.result(report, describeScores(report, context.cwd));
      if (report.rows === 0 || report.answered > 0) return;
      throw new ServalError("E_FILES_REFUSED", `None of the ${report.rows} pictures could be used.`, {
        hint: `The column "error" of ${flags.out} says why. Paths of a list are relative to the folder where the command runs.`,
      });
    });
};
