import { request } from "node:http";
import { text } from "node:stream/consumers";

export interface RawReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  // The shape is what the tests are about.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

export interface RawRequest {
  readonly port: number;
  readonly method?: string;
  readonly path: string;
  /** Any header, Host included; a list sends it as often. */
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string | Uint8Array;
  /** Address of this machine that the client has, such as 127.0.0.2. */
  readonly from?: string;
  /** Address that it connects to; 127.0.0.1 unless another is given. */
  readonly to?: string;
}

/** One request over a connection of its own, with headers that `fetch` would not send. */
export async function sendRequest({
  port,
  method = "GET",
  path,
  headers = {},
  body,
  from,
  to = "127.0.0.1",
}: RawRequest): Promise<RawReply> {
  return await new Promise((resolve, reject) => {
    const options = { host: to, port, method, path, headers, agent: false, ...(from !== undefined && { localAddress: from }) };
    const sent = request(options, (response) => {
      void text(response).then((answer) => {
        const json = answer !== "" && response.headers["content-type"]?.includes("json") ? (JSON.parse(answer) as unknown) : undefined;
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text: answer, body: json });
      }, reject);
    });
    sent.on("error", reject).end(body);
  });
}
