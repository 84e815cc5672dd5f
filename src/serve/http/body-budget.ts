import { Transform, type Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { ServalError } from "../../errors/serval-error.ts";

/** Bytes of bodies that the service holds at a time, in the size of the largest image: what has arrived and is not answered yet. */
const largestImages = 8;

/** A share of the budget, given back by `release`, at the latest when the reply has been sent or the client is gone. */
export interface BodyAccount {
  /** For bytes that are kept from now on. Throws E_QUEUE_FULL, and then the request keeps none. */
  add(bytes: number): void;
  /** Gives back this number of bytes; without a number all of them. */
  release(bytes?: number): void;
}

/** Bounds the memory that bodies take, from all clients and however slowly they come: the queue counts only what has arrived whole. */
export class BodyBudget {
  readonly #limit: number;
  #held = 0;

  constructor(maxBodyBytes: number) {
    this.#limit = largestImages * maxBodyBytes;
  }

  open(reply: FastifyReply): BodyAccount {
    let own = 0;
    let closed = reply.raw.closed;
    const release = (bytes = own): void => {
      const given = Math.min(bytes, own);
      own -= given;
      this.#held -= given;
    };
    reply.raw.once("close", () => {
      closed = true;
      release();
    });
    return {
      add: (bytes) => {
        // These would never be given back; what still arrives is thrown away.
        if (closed) return;
        own += bytes;
        this.#held += bytes;
        if (this.#held <= this.#limit) return;
        const held = this.#held;
        release();
        throw new ServalError("E_QUEUE_FULL", `The bodies of unfinished requests take ${held} bytes (limit ${this.#limit}).`, {
          hint: "Try again after the seconds in Retry-After.",
        });
      },
      release,
    };
  }
}

/**
 * Passes a body on and counts what goes through. Where the rest of it is not wanted any more, it is thrown away: what is not
 * read would keep the connection.
 */
export function countedBody(body: Readable, reply: FastifyReply, account: BodyAccount): Transform {
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        account.add(chunk.length);
        done(null, chunk);
      } catch (error) {
        done(error as Error);
      }
    },
  });
  const discard = (): void => {
    body.unpipe(counted);
    body.resume();
  };
  counted.once("error", discard);
  reply.raw.once("finish", discard);
  return body.pipe(counted);
}
