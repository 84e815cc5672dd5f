import type { StageEvent } from "../../pipeline/run/reproduce.ts";
import { formatDuration } from "../../workflows/format-duration.ts";
import type { Output } from "../output.ts";

/** Prints what happens to a stage; with `parallel`, each line of output names its stage. */
export function printStageEvent(output: Output, event: StageEvent, parallel: boolean): void {
  if (event.type === "data") {
    output.line(`${event.source}: ${event.path} changed; its new version is recorded.`);
    return;
  }
  const name = event.stage.address;
  const because = "reasons" in event ? event.reasons.join("; ") : "";
  switch (event.type) {
    case "unchanged":
      return output.line(`${name}: up to date`);
    case "waiting":
      return output.warn(`${name}: waiting for another \`serval repro\` that works on it, or on what it reads`);
    case "restored":
      return output.line(`${name}: its outs are in the cache from an earlier run; not run again (${because})`);
    case "recorded":
      return output.line(`${name}: as recorded; put into the cache again (${because})`);
    case "skipped":
      return output.warn(`${name}: not run, because ${because}`);
    case "would run":
      return output.line(`${name}: would run, because ${because}`);
    case "running":
      return output.line(`${name}: runs, because ${because}`);
    case "command":
      return output.line(parallel ? `${name} | > ${event.text}` : `> ${event.text}`);
    case "line":
      return output.line(`${name} | ${event.text}`);
    case "abandoned":
      return output.warn(`${name}: ending what a killed \`serval repro\` left running: process ${event.text}`);
    case "ran":
      return output.line(`${name}: done in ${formatDuration(event.seconds)}`);
  }
}
