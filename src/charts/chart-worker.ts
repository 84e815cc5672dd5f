import { parentPort } from "node:worker_threads";
import { answerCalls } from "../threads/answer-calls.ts";
import type { JobProtocol } from "../threads/job-thread.ts";
import type { Chart } from "./chart.ts";
import { chartSvg } from "./svg.ts";

if (parentPort) await answerCalls<JobProtocol<Chart, string>>(parentPort, () => ({ call: chartSvg }));
