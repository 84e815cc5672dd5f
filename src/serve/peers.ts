import { lookup } from "node:dns/promises";
import { ServalError } from "../errors.ts";

/** Tells a replica that it is asked by another one, so that it does not ask the rest in turn. */
export const peerHeader = "x-serval-peer";

export interface PeerAnswer {
  readonly status: number;
  readonly body: { readonly error?: { readonly code: string; readonly message: string } };
}

const timeoutMs = 3000;
const maxAnswerBytes = 65_536;

/**
 * Sends a JSON body to every replica behind `peers` (HOST:PORT, where a name with several addresses stands for all of them), and
 * returns the answer of the one that accepts or refuses it (2xx, 400); undefined where all answer 404. Throws
 * E_PREDICTION_LOG where nobody knew and some gave no such answer: they might have.
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
        const response = await fetch(`${base}${path}`, {
          method: "POST",
          headers: { ...headers, "content-type": "application/json", [peerHeader]: "1" },
          body: JSON.stringify(body),
          // The headers hold the client's key: they go to the replica and nowhere else.
          redirect: "error",
          signal: AbortSignal.timeout(timeoutMs),
        });
        return { status: response.status, body: await readAnswer(response) };
      } catch {
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

/** A replica's answer is short. Throws for a longer one, and for what is not JSON. */
async function readAnswer(response: Response): Promise<PeerAnswer["body"]> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) throw new ServalError("E_PREDICTION_LOG", `A replica's answer has more than ${maxAnswerBytes} bytes.`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString()) as PeerAnswer["body"];
}

/** Nobody has the name while the replicas start: then there is nobody to ask. */
async function resolvePeer(peer: string): Promise<readonly string[]> {
  const { hostname, port } = new URL(`http://${peer}`);
  const found = await lookup(hostname, { all: true, family: 4 }).catch(() => []);
  return found.map(({ address }) => `http://${address}:${port || 80}`);
}
