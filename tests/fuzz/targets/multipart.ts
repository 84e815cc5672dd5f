import { startTestService } from "../../helpers/service.ts";
import { colourPicture } from "../../helpers/tiny-bundle.ts";
import { mutateBytes, mutateText } from "../mutate.ts";
import { expectThat, type FuzzTarget } from "../target.ts";

const line = "\r\n";
const words = [
  line,
  "\n",
  "--",
  "--x",
  `${line}--x${line}`,
  `${line}--x--`,
  "x",
  ";",
  ":",
  "=",
  '"',
  "'",
  "\\",
  "\0",
  "	",
  " ",
  "%0d%0a",
  "😀",
  "Content-Disposition",
  "Content-Type",
  "Content-Transfer-Encoding",
  "form-data",
  "attachment",
  "name",
  "filename",
  "filename*",
  "UTF-8''",
  "file",
  "__proto__",
  "image/jpeg",
  "application/octet-stream",
  "application/json",
  "multipart/mixed",
  "boundary",
  "charset",
  "utf-16",
  "base64",
  "quoted-printable",
  "_charset_",
];

/** A form, its content type in the first line, to a real service: an answer or a refusal with a code, and never 500. */
export async function openMultipart(): Promise<FuzzTarget> {
  const service = await startTestService({ limits: { maxBodyBytes: 1e6, uploadTimeoutMs: 5000 } });
  const picture = await colourPicture("red", 1);
  const form = (type: string, ...parts: readonly (readonly [headers: string, content: Uint8Array | string])[]): Buffer => {
    const pieces = parts.flatMap(([headers, content]) => [`--x${line}${headers}${line}${line}`, content, line]);
    return Buffer.concat([`${type}\n`, ...pieces, `--x--${line}`].map((piece) => Buffer.from(piece as string)));
  };
  const type = "multipart/form-data; boundary=x";
  const file = `Content-Disposition: form-data; name="file"; filename="a.jpg"${line}Content-Type: image/jpeg`;
  const field = `Content-Disposition: form-data; name="a"`;
  const text = mutateText(words);
  const run = async (input: Uint8Array): Promise<void> => {
    const bytes = Buffer.from(input);
    const end = bytes.indexOf("\n");
    // Characters that no header can carry.
    const contentType = bytes.toString("latin1", 0, Math.max(0, end)).replaceAll(/[^\t\x20-\x7e]/g, "?");
    for (const path of ["/predict", "/predict/batch", "/explain"]) {
      const init = { method: "POST", headers: { "content-type": contentType }, body: new Uint8Array(bytes.subarray(end + 1)) };
      const response = await fetch(`${service.url}${path}`, init);
      const said = await response.text();
      const refused = [400, 408, 413, 415, 503].includes(response.status);
      expectThat(response.status === 200 || refused, `${path} answers ${response.status}: ${said.slice(0, 200)}`);
      if (refused) expectThat(/"code":"E_[A-Z_]+"/.test(said), `${path} answers ${response.status} without a code: ${said.slice(0, 200)}`);
      expectThat(!said.includes("E_INTERNAL"), `${path}: ${said.slice(0, 300)}`);
    }
  };
  return {
    seeds: [
      form(type, [file, picture]),
      form(type, [field, "text"], [file, picture], [file, picture]),
      form(
        'multipart/form-data; boundary="x"; charset=utf-8',
        [`${field}${line}Content-Type: application/json`, '{"a":1}'],
        [file, picture],
      ),
      form(type, [`${file}${line}Content-Transfer-Encoding: base64`, picture.toString("base64")]),
      form("image/jpeg", [file, "x"]),
    ],
    mutate: (input, random, corpus) =>
      random.below(2) === 0 ? mutateBytes(input, random, corpus) : textAround(text, picture)(input, random, corpus),
    guided: true,
    run,
    close: async () => await service.close(),
  };
}

/** Words are changed where they are text: bytes of a picture would not survive it. */
function textAround(mutate: FuzzTarget["mutate"], picture: Buffer): FuzzTarget["mutate"] {
  return (input, random, corpus) => {
    const bytes = Buffer.from(input);
    const at = bytes.indexOf(picture);
    if (at < 0) return mutate(bytes, random, corpus);
    const after = at + picture.length;
    return Buffer.concat([
      mutate(bytes.subarray(0, at), random, corpus),
      picture,
      random.below(2) === 0 ? bytes.subarray(after) : mutate(bytes.subarray(after), random, corpus),
    ]);
  };
}
