import { relative } from "node:path";
import type { WrittenBackbone } from "../../backbones/write-backbone.ts";
import type { BackboneRow, ShownBackbone } from "../../workflows/model/list-backbones.ts";
import { renderTable } from "./table.ts";

/** Where the features of an ONNX backbone come from. */
const featurePlace = { maps: "of the maps' mean", tokens: "of the class token", vector: "as a vector" } as const;

/** What `serval backbones list` prints. */
export function describeBackboneRows(rows: readonly BackboneRow[]): string {
  if (rows.length === 0) return "There are no backbones.";
  const head = ["name", "where", "network", "features", "MB", "licence"];
  return renderTable([
    head,
    ...rows.map(({ name, shipped, network, features, sizeBytes, licence }) => [
      name,
      shipped ? "came with Serval" : "working folder",
      network,
      String(features),
      (sizeBytes / 1e6).toFixed(1),
      licence,
    ]),
  ]);
}

/** What `serval backbones show` prints. */
export function describeBackbone({ dir, shipped, record, digest, features, side, mean, std }: ShownBackbone, cwd: string): string {
  const { onnx, architecture } = record;
  const numbers = (values: readonly number[]): string => values.map((value) => Number(value.toFixed(4))).join(", ");
  return renderTable([
    [record.name, shipped ? "came with Serval" : relative(cwd, dir) || "."],
    ["network", architecture ?? `ONNX: input ${onnx?.input} ${onnx?.layout} ${onnx?.dtype}, output ${onnx?.output} (${onnx?.kind})`],
    ["features", String(features)],
    ["pictures", `${side}x${side}, mean ${numbers(mean)}, std ${numbers(std)}`],
    ["licence", record.licence],
    ["origin", record.origin],
    ["SHA-256", digest],
  ]);
}

/** What `serval backbones add` prints. */
export function describeAdded({ dir, record, changed }: WrittenBackbone, cwd: string): string {
  const place = relative(cwd, dir) || ".";
  const { name, onnx } = record;
  const size = onnx && `  ${onnx.channels} features ${featurePlace[onnx.kind]}, output ${onnx.output}`;
  const prepare = onnx && `prepare.width, prepare.height and train.cropSize: ${onnx.side}`;
  return [
    changed ? `Added ${name} as ${place}.` : `${place} is this backbone already.`,
    ...(size === undefined ? [] : [size]),
    `Next: set ${["train.backbone: " + name, ...(prepare === undefined ? [] : [prepare])].join(", and ")} in params.yaml, then serval prepare and serval train.`,
  ].join("\n");
}
