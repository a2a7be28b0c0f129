// Finds complete small POST requests in the bytes that a client sends on one HTTP/1.1 connection.

/** Requests that are larger are not recorded, in bytes. */
const requestLimit = 256 * 1024;
const headLimit = 16 * 1024;
const headEnd = '\r\n\r\n';

/** Reads along with one direction of a connection; gives up on a connection that it does not understand. */
export class RequestRecorder {
  /** The head that is being read, and after it the body if it is small enough; null once given up. */
  #bytes: Buffer | null = Buffer.alloc(0);
  /** Bytes of a body that are to come and are not recorded. */
  #skipped = 0;

  /** Takes the next bytes; answers the POST requests that they complete. */
  take(chunk: Uint8Array): Buffer[] {
    const isSkipped = Math.min(this.#skipped, chunk.length);
    this.#skipped -= isSkipped;
    if (this.#bytes !== null) this.#bytes = Buffer.concat([this.#bytes, chunk.subarray(isSkipped)]);
    const complete: Buffer[] = [];
    for (let request = this.#next(); request !== null; request = this.#next())
      if (request.subarray(0, 5).toString('latin1') === 'POST ') complete.push(request);
    return complete;
  }

  /** The first request among the bytes, if it is complete. */
  #next(): Buffer | null {
    const bytes = this.#bytes;
    if (bytes === null || bytes.length === 0) return null;
    const headLength = bytes.indexOf(headEnd) + headEnd.length;
    if (headLength < headEnd.length) {
      if (bytes.length > headLimit) this.#bytes = null;
      return null;
    }
    const bodyLength = bodyLengthOf(bytes.subarray(0, headLength).toString('latin1'));
    const length = headLength + (bodyLength ?? 0);
    if (bodyLength === null || bytes.length >= length) {
      this.#bytes = bodyLength === null ? null : bytes.subarray(length);
      return bodyLength === null ? null : Buffer.from(bytes.subarray(0, length));
    }
    if (length > requestLimit) {
      this.#skipped = length - bytes.length;
      this.#bytes = Buffer.alloc(0);
    }
    return null;
  }
}

/** Null where the body's end is not told by its length. */
function bodyLengthOf(head: string): number | null {
  if (/^transfer-encoding:/im.test(head)) return null;
  return Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
}
