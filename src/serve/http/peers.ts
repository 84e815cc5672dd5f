import { lookup } from "node:dns/promises";
import { ServalError } from "../../errors/serval-error.ts";
import { request } from "../../http/client.ts";

/** Tells a replica that it is asked by another one, so that it does not ask the rest in turn. */
export const peerHeader = "x-serval-peer";

export interface PeerAnswer {
  readonly status: number;
  /** What it says is wrong; undefined where nothing is. */
  readonly refused: string | undefined;
}

const timeoutMs = 3000;
const mostAnswerBytes = 64 * 2 ** 10;

/**
 * Sends a JSON body to every replica behind `peers` (HOST:PORT, where a name stands for all of its addresses), and
 * returns the answer of the one that accepts or refuses it (2xx, 400); undefined where all answer 404. Throws
 * E_PREDICTION_LOG where no replica knew and some gave no such answer: they might have.
 */
export async function askPeers(
  peers: readonly string[],
  path: string,
  body: object,
  headers: Readonly<Record<string, string>>,
): Promise<PeerAnswer | undefined> {
  const bases = (await Promise.all(peers.map(resolvePeer))).flat();
  const answers = await Promise.all(
    bases.map(async (base): Promise<PeerAnswer | undefined> => {
      try {
        const sent = { ...headers, "content-type": "application/json", [peerHeader]: "1" };
        const init = { method: "POST", headers: sent, body: JSON.stringify(body) };
        const bounds = { answerMs: timeoutMs, totalMs: timeoutMs, maxBytes: mostAnswerBytes };
        return await request(`${base}${path}`, init, bounds, async (answer) => readAnswer(answer.status, await answer.text()));
      } catch {
        // It does not answer, or not as a replica does. It may still have the prediction.
        return undefined;
      }
    }),
  );
  const decided = answers.filter((answer) => answer !== undefined && (answer.status < 300 || answer.status === 400));
  if (decided[0]) return decided[0];
  const silent = answers.filter((answer) => answer?.status !== 404).length;
  if (silent === 0) return undefined;
  throw new ServalError("E_PREDICTION_LOG", `${silent} of ${bases.length} replicas did not say whether they know the request.`, {
    hint: "Send the feedback again in a moment.",
  });
}

/** Throws where it is not JSON as a replica sends it. */
function readAnswer(status: number, text: string): PeerAnswer | undefined {
  const { error, request_id: id } = (JSON.parse(text) ?? {}) as { error?: { message?: unknown } | null; request_id?: unknown };
  if (status < 300) return typeof id === "string" ? { status, refused: undefined } : undefined;
  return typeof error?.message === "string" ? { status, refused: error.message } : undefined;
}

/** The name is not known while the replicas start: then there is none to ask. */
async function resolvePeer(peer: string): Promise<readonly string[]> {
  const { hostname, port } = new URL(`http://${peer}`);
  const found = await lookup(hostname, { all: true, family: 4 }).catch(() => []);
  return found.map(({ address }) => `http://${address}:${port || 80}`);
}
