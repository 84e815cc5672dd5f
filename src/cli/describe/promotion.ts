import { points, type Comparison } from "../../registry/compare.ts";
import { thousands } from "../../text.ts";
import type { PromotionReport, TestFigures } from "../../workflows/registry/promote-model.ts";
import { renderTable } from "./table.ts";

/** What `serval models promote` prints: both models side by side, the verdict, and where the aliases are. */
export function describePromotion(report: PromotionReport): string {
  const { name, version, over, comparison, comparedOn, test, remarks, promoted, refusal, forcedReason, standing } = report;
  const lines: string[] = [];
  if (comparison) {
    lines.push(comparedOn === "data" ? "On the pictures of --data, which decide:" : "On the validation split, which decides:");
    lines.push(...describeComparison(comparison, over ?? "", version), ...remarks);
    if (test) lines.push(describeTest(test));
    lines.push("");
  }
  if (standing.champion === version && !promoted) lines.push(`Version ${version} of ${name} is already the champion.`);
  else if (promoted) {
    const instead = over === null ? "the first champion: there was none to compare with" : `the champion in place of version ${over}`;
    lines.push(`Version ${version} of ${name} is ${instead}.`);
    if (forcedReason !== null) lines.push(`Forced${refusal === null ? "" : ` although ${refusal}`}; recorded: ${forcedReason}`);
    if (over !== null) lines.push(`Undo it with: serval models rollback ${name}`);
  } else lines.push(`Version ${standing.champion} of ${name} stays the champion.`);
  return lines.join("\n");
}

function describeTest({ champion, challenger }: TestFigures): string {
  const figure = (of: TestFigures["champion"]): string =>
    of === null ? "not evaluated" : `${points(of.accuracy)} % of ${thousands(of.count)} images`;
  return `On the test split, which decides nothing: champion ${figure(champion)}, challenger ${figure(challenger)}.`;
}

function describeComparison(comparison: Comparison, champion: string, challenger: string): string[] {
  const { images, onlyChampionRight, onlyChallengerRight, championAccuracy, challengerAccuracy, difference, interval, mcnemarP } =
    comparison;
  const table = renderTable([
    ["", "version", "accuracy", "images", "only this one right"],
    ["champion", champion, `${points(championAccuracy)} %`, thousands(images), thousands(onlyChampionRight)],
    ["challenger", challenger, `${points(challengerAccuracy)} %`, thousands(images), thousands(onlyChallengerRight)],
  ]);
  const signed = (share: number): string => (share > 0 ? `+${points(share)}` : points(share));
  return [
    table,
    `difference  ${signed(difference)} points, 95 % interval ${signed(interval[0])} to ${signed(interval[1])} (paired bootstrap); McNemar's exact p = ${mcnemarP.toPrecision(2)}`,
  ];
}
