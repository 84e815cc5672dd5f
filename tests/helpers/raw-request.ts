import { request } from "node:http";
import { request as requestTls } from "node:https";
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
  /** Over TLS, with the certificate that the server must have and the name in it. */
  readonly tls?: { readonly ca: string; readonly servername: string };
}

/** One request over a separate connection, with headers that `fetch` would not send. */
export async function sendRequest(wanted: RawRequest): Promise<RawReply> {
  const { port, method = "GET", path, headers = {}, body, from, to = "127.0.0.1", tls } = wanted;
  return await new Promise((resolve, reject) => {
    const options = { host: to, port, method, path, headers, agent: false, ...tls, ...(from !== undefined && { localAddress: from }) };
    const sent = (tls ? requestTls : request)(options, (response) => {
      void text(response)
        .then((answer) => {
          const isJson = answer !== "" && response.headers["content-type"]?.includes("json") === true;
          return {
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: answer,
            body: isJson ? (JSON.parse(answer) as unknown) : undefined,
          };
        })
        .then(resolve, reject);
    });
    // A server that answers before it has read everything may close the connection: then the answer counts.
    sent.on("error", (error) => setTimeout(() => reject(error), 500)).end(body);
  });
}
