/**
 * Brings the model up to date with the data and the parameters, compares it with the released one on the same validation images
 * and releases it where it is good enough: `retrainModel`, from the command line. Run in the working repository; train.yml does on a schedule.
 *
 *     node scripts/retrain.ts [--out reports/retrain]
 *
 * The folder gets report.md (verdict, metrics and parameters against the last commit), its pictures, and verdict.json. When
 * nothing was due there is no folder afterwards. Prints the report, and on stderr what it does. Ends with 0 whatever the verdict
 * is; a step that fails ends it as the verb does.
 */
import { parseArgs } from "node:util";
import { printStageEvent } from "../src/cli/describe/stage-event.ts";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { createOutput } from "../src/cli/output.ts";
import { stopSignal } from "../src/cli/stop-signals.ts";
import { toServalError } from "../src/errors/serval-error.ts";
import { retrainModel, retrainReportDir } from "../src/workflows/project/retrain-model.ts";

const { values } = parseArgs({ options: { out: { type: "string", default: retrainReportDir } } });
const reporter = createOutput({ stdout: process.stderr });
try {
  const report = await retrainModel({
    cwd: process.cwd(),
    out: values.out,
    reporter,
    signal: stopSignal("finish", (code) => process.exit(code)),
    onStageEvent: (event) => printStageEvent(reporter, event, false),
  });
  console.log(report === null ? "Nothing was due: the model is that of the data and the parameters." : report.text);
} catch (error) {
  const { code, message, hint } = toServalError(error);
  reporter.warn(`${code}: ${message}\n  ${hint}`);
  process.exitCode = exitCodes[code];
}
