import type { Configure } from "../../command.ts";
import { parseTime } from "../../options/parse-time.ts";

interface MonitorFlags {
  readonly model?: string;
  readonly until?: Date;
  readonly html?: string;
  readonly json?: boolean;
}

export const configure: Configure = (command, context) => {
  command
    .option(
      "--model <MODEL>",
      "the model that answered: a bundle folder, a released model's name, or models:/NAME@ALIAS (default: as for serve)",
    )
    .option("--until <TIME>", "end of the window: a time such as 2026-11-01T08:00:00Z, or 2h for two hours ago (default: now)", (text) =>
      parseTime("--until", text),
    )
    .option("--html <FILE>", "write a page with pictures as well")
    .option("--json", "print the report as JSON, as GET /monitor of the service answers it")
    .addHelpText(
      "after",
      "\nLooks at the last 1,000 answers of the model, none older than 24 hours, and compares them with its validation split.\n" +
        "Exit status 0 whatever the verdict is: alarms are for Prometheus.",
    )
    .action(async ({ json, ...flags }: MonitorFlags) => {
      const output = context.output({ json });
      const { monitorService } = await import("../../../workflows/service/monitor-service.ts");
      const { describeMonitor } = await import("../../describe/monitor.ts");
      const report = await monitorService({ cwd: context.cwd, ...flags, reporter: output, signal: context.signal });
      output.result(report, describeMonitor(report, flags.html));
    });
};
