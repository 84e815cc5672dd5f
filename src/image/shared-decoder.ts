import { availableParallelism } from "node:os";
import { DecoderProcesses } from "./decoder-processes.ts";

const mostProcesses = 4;

/** Processes for costly pictures: one for each core, but each may take hundreds of megabytes. */
export function decoderProcessCount(cores: number = availableParallelism()): number {
  return Math.max(1, Math.min(mostProcesses, cores));
}

let shared: DecoderProcesses | undefined;

/** The decoder of all that is not a service. Its processes start when they are needed and end with this one. */
export function sharedDecoder(): DecoderProcesses {
  return (shared ??= new DecoderProcesses({ processes: decoderProcessCount() }));
}
