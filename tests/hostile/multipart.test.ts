import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../src/errors/error-table.ts";
import { errorStatus } from "../../src/serve/http/error-status.ts";
import { predictForm, startTestService, type TestService } from "../helpers/service.ts";
import { colourPicture } from "../helpers/tiny-bundle.ts";

let service: TestService;
/** One that does not wait for long. */
let impatient: TestService;
let picture: Buffer;
beforeAll(async () => {
  service = await startTestService({ limits: { maxBodyBytes: 2e6 } });
  impatient = await startTestService({ limits: { uploadTimeoutMs: 1500 } });
  picture = await colourPicture("red", 1);
});
afterAll(async () => {
  await service.close();
  await impatient.close();
});
afterEach(async () => expect((await predictForm(service, picture)).body.label).toBe("red"));

const line = "\r\n";
const fileHead = `Content-Disposition: form-data; name="file"; filename="a.jpg"`;

/** The bytes of a form with these parts, each of headers and content. */
function formOf(parts: readonly (readonly [headers: string, content: Uint8Array | string])[], boundary = "x"): Buffer {
  const pieces = parts.flatMap(([headers, content]) => [`--${boundary}${line}${headers}${line}${line}`, content, line]);
  return Buffer.concat([...pieces, `--${boundary}--${line}`].map((piece) => Buffer.from(piece as string)));
}

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly text: string;
}

async function send(path: string, body: Buffer, contentType: string): Promise<Answer> {
  const init = {
    method: "POST",
    body: new Uint8Array(body),
    headers: { "content-type": contentType },
    signal: AbortSignal.timeout(20_000),
  };
  const response = await fetch(`${service.url}${path}`, init);
  const said = await response.text();
  const first = JSON.parse(said.split("\n")[0] ?? "") as { error?: { code: string; message: string; hint: string } };
  const { code, message = "", hint } = first.error ?? {};
  expect([typeof hint, message.length < 500]).toEqual([typeof code, true]);
  return { status: response.status, code, text: said };
}

/** Both routes give one of these codes ("answer" for a prediction), with the status that the table of errors has for it, soon. */
async function expectCodes(
  body: Buffer,
  codes: readonly (ErrorCode | "answer")[],
  contentType = "multipart/form-data; boundary=x",
): Promise<void> {
  const before = process.memoryUsage().rss;
  for (const path of ["/predict", "/predict/batch"]) {
    const startedAt = performance.now();
    const { status, code } = await send(path, body, contentType);
    expect(codes).toContain(code ?? "answer");
    // A batch has begun its answer when a picture turns out to be wrong.
    const expected = code === undefined ? 200 : errorStatus[code as ErrorCode];
    expect(path === "/predict" ? [expected] : [expected, 200]).toContain(status);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(300e6);
}

describe("a form whose boundary", () => {
  const longest = "b".repeat(70);
  const good = [longest, "'()+_,-./:=?", "a b", "(.*)+$[^]", "--", "0"];
  it.each(good)("is %j is read", async (boundary) => {
    await expectCodes(formOf([[fileHead, picture]], boundary), ["answer"], `multipart/form-data; boundary="${boundary}"`);
  });

  it("is missing, empty or not the one of the body is refused", async () => {
    const body = formOf([[fileHead, picture]]);
    for (const type of ["", "; boundary", "; boundary=", '; boundary=""', "; boundary=y", "; charset=utf-8", "; boundary=x=y", ";;;"])
      await expectCodes(body, ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD", "E_MEDIA_TYPE"], `multipart/form-data${type}`);
  });

  it("is longer than any client makes it is refused, and costs nothing", async () => {
    for (const length of [1000, 10_000]) {
      const boundary = "b".repeat(length);
      await expectCodes(formOf([[fileHead, picture]], boundary), ["E_UPLOAD_BROKEN"], `multipart/form-data; boundary=${boundary}`);
    }
  });

  it("is nearly found at every byte does not make reading slow", async () => {
    const boundary = `${"-".repeat(68)}x`;
    const body = formOf([[fileHead, Buffer.alloc(1_900_000, "-")]], boundary);
    await expectCodes(body, ["E_IMAGE_FORMAT"], `multipart/form-data; boundary=${boundary}`);
    await expectCodes(formOf([[fileHead, Buffer.from("\r\n--".repeat(400_000))]]), ["E_IMAGE_FORMAT"]);
  });
});

describe("a form whose parts", () => {
  it("are 100,000 is refused at the limit, whatever they are", async () => {
    const [name, other] = [`Content-Disposition: form-data; name="a"`, `Content-Disposition: attachment`];
    for (const headers of [name, fileHead, other, "x: y", `${name}; filename="b"`]) {
      await expectCodes(formOf(Array.from({ length: 100_000 }, () => [headers, ""] as const)), ["E_UPLOAD_FIELD", "E_IMAGE_EMPTY"]);
    }
  });

  it("have headers without end, or very many, is refused", async () => {
    const broken: readonly ErrorCode[] = ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD"];
    await expectCodes(Buffer.from(`--x${line}${"Content-Disposition: ".repeat(80_000)}`), broken);
    await expectCodes(Buffer.from(`--x${line}${`x: y${line}`.repeat(200_000)}`), broken);
    await expectCodes(formOf([[`${`x: y${line}`.repeat(10_000)}${fileHead}`, picture]]), broken);
    await expectCodes(formOf([[`x: ${"y".repeat(1_000_000)}${line}${fileHead}`, picture]]), broken);
  });

  it("have no name, or one that is not a name, is refused", async () => {
    const names = ["", "; name", '; name=""', '; filename="a.jpg"', '; name=""; filename="a.jpg"', `; name="file${line}"`];
    const inherited = ["__proto__", "constructor", "hasOwnProperty"].flatMap((name) => [
      `; name="${name}"`,
      `; name="${name}"; filename="a"`,
    ]);
    const heads = [
      ...[...names, ...inherited].map((parameters) => `Content-Disposition: form-data${parameters}`),
      `Content-Disposition: attachment; name="file"; filename="a.jpg"`,
      "Content-Type: image/jpeg",
      "",
    ];
    for (const head of heads) await expectCodes(formOf([[head, picture]]), ["E_UPLOAD_FIELD", "E_UPLOAD_BROKEN"]);
  });

  it("are JSON that is not, or that would change prototypes, does no harm", async () => {
    const head = `Content-Disposition: form-data; name="a"${line}Content-Type: application/json`;
    for (const content of ["{", '{"__proto__":{"x":1}}', "[".repeat(4000)]) {
      await expectCodes(
        formOf([
          [head, content],
          [fileHead, picture],
        ]),
        ["E_UPLOAD_BROKEN", "answer"],
      );
    }
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });

  it("are forms themselves is not unpacked", async () => {
    const inner = formOf([[fileHead, picture]], "y");
    await expectCodes(formOf([[`${fileHead}${line}Content-Type: multipart/mixed; boundary=y`, inner]]), ["E_IMAGE_FORMAT"]);
    await expectCodes(formOf([[`Content-Type: multipart/mixed; boundary=y`, inner]]), ["E_UPLOAD_FIELD"]);
  });

  it("are the picture twice: one is expected, and a batch answers both", async () => {
    const body = formOf([
      [fileHead, picture],
      [fileHead, picture],
    ]);
    expect(await send("/predict", body, "multipart/form-data; boundary=x")).toMatchObject({ status: 400, code: "E_UPLOAD_FIELD" });
    const batch = await send("/predict/batch", body, "multipart/form-data; boundary=x");
    expect([batch.status, batch.text.match(/"label":"red"/g)?.length]).toEqual([200, 2]);
  });

  it("say another encoding or character set: the bytes are what they are", async () => {
    const encoded = Buffer.from(picture.toString("base64"));
    await expectCodes(formOf([[`${fileHead}${line}Content-Transfer-Encoding: base64`, encoded]]), ["E_IMAGE_FORMAT"]);
    for (const encoding of ["binary", "8bit", "no-such-encoding"])
      await expectCodes(formOf([[`${fileHead}${line}Content-Transfer-Encoding: ${encoding}`, picture]]), ["answer"]);
    for (const charset of ["utf-16", "no-such-charset", '"', "utf-7"]) {
      const field = `Content-Disposition: form-data; name="a"${line}Content-Type: text/plain; charset=${charset}`;
      await expectCodes(
        formOf([
          [field, "\u00e9"],
          [`${fileHead}${line}Content-Type: image/jpeg; charset=${charset}`, picture],
        ]),
        ["answer"],
      );
    }
  });

  it("end their lines with a line feed alone, or with nothing, is refused", async () => {
    const body = formOf([[fileHead, picture]]).toString("latin1");
    await expectCodes(Buffer.from(body.replaceAll("\r\n", "\n"), "latin1"), ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD", "answer"]);
    await expectCodes(Buffer.from(body.replaceAll("\r\n", ""), "latin1"), ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD"]);
    await expectCodes(Buffer.from("--x--"), ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD"]);
    await expectCodes(Buffer.from(`--x--${line}`.repeat(100_000)), ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD"]);
    await expectCodes(Buffer.alloc(0), ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD"]);
    for (const share of [0.1, 0.5, 0.99]) {
      const cut = formOf([[fileHead, picture]]);
      await expectCodes(cut.subarray(0, cut.length * share), ["E_UPLOAD_BROKEN", "E_UPLOAD_FIELD", "E_IMAGE_CORRUPT"]);
    }
  });

  it("stand between megabytes of nothing is still read", async () => {
    const body = formOf([[fileHead, picture]]);
    await expectCodes(Buffer.concat([Buffer.alloc(2_000_000, "p"), Buffer.from(line), body]), ["answer"]);
    await expectCodes(Buffer.concat([body, Buffer.alloc(2_000_000, "e")]), ["answer"]);
  });
});

describe("a file name", () => {
  it.each<[string, string]>([
    ["with a path", 'filename="../../../etc/passwd"'],
    ["with a path of Windows", String.raw`filename="C:\\Windows\\x.jpg"`],
    ["with a NUL", 'filename="a\0.jpg"'],
    ["with commands for a terminal", 'filename="\u001b[2J.jpg"'],
    ["in RFC 5987's form", "filename*=UTF-8''%e2%82%ac%2e%2e%2f.jpg"],
    ["in a form that is not RFC 5987's", "filename*=no-such-charset'%zz%"],
    ["twice", 'filename="a.jpg"; filename="b.jpg"'],
    ["without its end", 'filename="a.jpg'],
    ["of nothing", 'filename=""'],
  ])("%s changes nothing, or is refused", async (_what, name) => {
    const body = formOf([[`Content-Disposition: form-data; name="file"; ${name}`, picture]]);
    await expectCodes(body, ["answer", "E_UPLOAD_FIELD", "E_UPLOAD_BROKEN"]);
    const { text: said } = await send("/predict/batch", body, "multipart/form-data; boundary=x");
    expect(said).not.toMatch(/\.\.\/|Windows|\p{Cc}(?!$)/u);
  });

  it("of 10 MB is not repeated in the answer", async () => {
    const names = [`name="file"; filename="${"a".repeat(10_000_000)}"`, `name="${"a".repeat(10_000_000)}"; filename="a"`];
    for (const name of names) {
      const body = formOf([[`Content-Disposition: form-data; ${name}`, picture]]);
      for (const path of ["/predict", "/predict/batch"]) {
        const { status, text: said } = await send(path, body, "multipart/form-data; boundary=x");
        expect([status, said.length < 2000]).toEqual([expect.any(Number), true]);
        expect([200, 400, 413]).toContain(status);
      }
    }
  });
});

describe("a connection that carries a form", () => {
  async function open({ port } = service): Promise<Socket> {
    const socket = connect(port, "127.0.0.1").on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  }
  const head = (path: string, more: string): string =>
    `POST ${path} HTTP/1.1${line}host: x${line}connection: close${line}content-type: multipart/form-data; boundary=x${line}${more}${line}${line}`;
  const chunk = (bytes: Buffer, extension = ""): Buffer =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}${extension}${line}`), bytes, Buffer.from(line)]);
  const exchange = async (path: string, more: string, ...body: readonly (Buffer | string)[]): Promise<string> => {
    const socket = await open(impatient);
    const replied = text(socket).catch(() => "");
    socket.write(Buffer.concat([head(path, more), ...body].map((piece) => Buffer.from(piece as string))));
    return await replied;
  };

  it("of another length than it says is let go, or answered for what came", async () => {
    const body = formOf([[fileHead, picture]]);
    await Promise.all(
      ["/predict", "/predict/batch"].map(async (path) => {
        expect(await exchange(path, `content-length: ${body.length + 1000}`, body)).toMatch(/^HTTP\/1\.1 (408|200) /);
        expect(await exchange(path, `content-length: ${body.length - 10}`, body)).toMatch(/^HTTP\/1\.1 (200|400) /);
      }),
    );
  });

  it("and megabytes after it does not keep the next request from its answer", async () => {
    const body = Buffer.concat([formOf([[fileHead, picture]]), Buffer.from("--x--\r\n".repeat(400_000))]);
    for (const path of ["/predict", "/predict/batch"]) {
      const next = `GET /health/live HTTP/1.1${line}host: x${line}connection: close${line}${line}`;
      const first = head(path, `content-length: ${body.length}`).replace("connection: close", "connection: keep-alive");
      const socket = await open();
      const replied = text(socket);
      socket.write(first);
      socket.write(body);
      socket.write(next);
      expect((await replied).match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200"]);
    }
  });

  it("in chunks with extensions, or with rubbish after them, is answered once", async () => {
    const body = formOf([[fileHead, picture]]);
    const [chunked, end] = ["transfer-encoding: chunked", `0${line}${line}`];
    for (const path of ["/predict", "/predict/batch"]) {
      expect(await exchange(path, chunked, chunk(body, ";a=b"), end)).toMatch(/^HTTP\/1\.1 200 /);
      const extended = await exchange(path, chunked, chunk(body, `;${"a".repeat(100_000)}`), end);
      expect(extended).toMatch(/^(HTTP\/1\.1 4\d\d |$)/);
      for (const rubbish of ["GARBAGE", `GET /health HTTP/1.1${line}${line}`, `zz${line}`]) {
        const replied = await exchange(path, chunked, chunk(body), `${end}${rubbish}`);
        expect(replied.match(/HTTP\/1\.1 \d+/g)).toEqual([expect.stringMatching(/ (200|400)$/)]);
      }
      expect(await exchange(path, chunked, `-5${line}x`)).toMatch(/^(HTTP\/1\.1 4\d\d |$)/);
      expect(await exchange(path, chunked, `fffffffffffffffff${line}x`)).toMatch(/^(HTTP\/1\.1 4\d\d |$)/);
    }
  });

  it("a byte at a time is ended in time, and others are answered meanwhile", async () => {
    const body = formOf([[fileHead, picture]]);
    const sockets = await Promise.all(["/predict", "/predict/batch"].map(async (path) => ({ path, socket: await open(impatient) })));
    const drips = sockets.map(({ path, socket }) => {
      socket.write(head(path, `content-length: ${body.length}`));
      let at = 0;
      return setInterval(() => socket.write(body.subarray(at, ++at)), 50);
    });
    const replies = sockets.map(async ({ socket }) => await text(socket).catch(() => ""));
    for (let i = 0; i < 10; i++) expect((await predictForm(impatient, picture)).status).toBe(200);
    for (const reply of await Promise.all(replies)) expect(reply).toMatch(/^HTTP\/1\.1 408 [^]*E_UPLOAD_TIMEOUT/);
    for (const drip of drips) clearInterval(drip);
  });

  it("is one of 500: each is answered or told to come back, and memory keeps its bounds", async () => {
    const before = process.memoryUsage().rss;
    const body = new Uint8Array(formOf([[fileHead, picture]]));
    const headers = { "content-type": "multipart/form-data; boundary=x" };
    const replies = await Promise.all(
      Array.from({ length: 500 }, async () => {
        const response = await fetch(`${service.url}/predict`, { method: "POST", body, headers });
        await response.text();
        return [response.status, response.status === 200 || Number(response.headers.get("retry-after")) > 0] as const;
      }),
    );
    expect(replies.filter(([status, isRight]) => !isRight || ![200, 503].includes(status))).toEqual([]);
    expect(replies.filter(([status]) => status === 200).length).toBeGreaterThan(0);
    expect(process.memoryUsage().rss - before).toBeLessThan(300e6);
  });
});
