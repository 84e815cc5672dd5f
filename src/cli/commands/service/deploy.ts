import type { RolloutReport } from "../../../deploy/rollout.ts";
import { ServalError, type ErrorCode } from "../../../errors/serval-error.ts";
import { defaultWatchSeconds, deployService, surveyTarget, targetNames } from "../../../workflows/service/deploy-service.ts";
import type { Configure } from "../../command.ts";
import { describeOutcome, describePlan, describeStep } from "../../describe/deploy.ts";
import { parseAmount } from "../../options/parse-amount.ts";

interface Flags {
  readonly target: string;
  readonly dir: string;
  readonly undo?: boolean;
  readonly pull: boolean;
  readonly model?: string;
  readonly wait: string;
  readonly watch?: string;
  readonly maxLatency: string;
  readonly dry?: boolean;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  command
    .argument("[VERSION]", "image to deploy, such as someone/classifier:COMMIT")
    .option("--target <TARGET>", `where to: ${targetNames.join(", ")}`, "compose")
    .option("--undo", "go back to the version that served before; after a deploy that was cut short, to what served when it began")
    .option("--no-pull", "use an image that is already on this machine")
    .option("--model <MODEL>", "model that the version serves, such as models:/NAME/VERSION; it goes back with the version")
    .option("--wait <SECONDS>", "seconds that a version has to become ready", "60")
    .option("--watch <SECONDS>", `seconds to watch the new version beside the previous one (default: ${defaultWatchSeconds}; 0 for --undo)`)
    .option("--max-latency <MS>", "longest median time of a prediction in the smoke test", "1000")
    .option("--dir <DIR>", "folder of docker-compose.yml, for the target compose", "deployment")
    .option("--dry", "show what serves and what would be done, without changing anything")
    .option("--json", "print the report as JSON")
    .addHelpText("after", exitCodes)
    .action(async (version: string | undefined, flags: Flags) => {
      const { target, dir, undo = false, pull, model, dry = false, json } = flags;
      if (version === undefined ? !undo && !dry : undo) throw new ServalError("E_USAGE", "Name either a VERSION or --undo.");
      if (undo && model !== undefined) {
        throw new ServalError("E_USAGE", "--model needs a VERSION: --undo goes back to the model that the previous version had.");
      }
      const place = { cwd: context.cwd, target, dir, waitSeconds: parseAmount("--wait", flags.wait), signal: context.signal };
      const watchSeconds = flags.watch === undefined ? undefined : parseAmount("--watch", flags.watch);
      const maxLatencyMs = parseAmount("--max-latency", flags.maxLatency);
      const output = context.output({ json });
      if (dry) {
        const found = await surveyTarget(place);
        const { serving, previous, repaired } = found.standing;
        const data = { target: found.target, serving, previous, repaired, version: version ?? null, undo };
        output.result(data, describePlan(found.standing, { target: found.target, version, model, undo, pull }));
        return;
      }
      const onStep = (step: Parameters<typeof describeStep>[0]): void => output.line(describeStep(step));
      const wanted = { version: version ?? ({ undo: true } as const), pull, model, watchSeconds, maxLatencyMs, onStep };
      const report = await deployService({ ...place, ...wanted });
      output.result(report, describeOutcome(report));
      if (report.error) throw asError(report);
    });
};

const exitCodes = `
It ends with
  0  the new version serves
  1  the previous version serves: the new one cannot be pulled, does not become ready, fails a test, or is worse when watched
  2  nothing was done: the command line, the engine or the configuration is not ready, or another deploy is running
  3  nothing serves: the new version failed, and the previous one is missing or fails too
  130  you stopped it: it says what serves, and the next deploy, or --undo, removes what did not pass its checks
`;

/** The report's error, with the code that says what serves now. */
function asError({ outcome, error }: RolloutReport): ServalError {
  const code: ErrorCode = outcome === "down" ? "E_DEPLOY_DOWN" : error?.code === "E_INTERRUPTED" ? "E_INTERRUPTED" : "E_DEPLOY_REFUSED";
  return new ServalError(code, error?.message ?? "", code !== "E_DEPLOY_DOWN" && error ? { hint: error.hint } : {});
}
