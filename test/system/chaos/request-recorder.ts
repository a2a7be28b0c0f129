// Finds complete small POST requests in the bytes that a client sends on one HTTP/1.1 connection.

/** Maximum bytes of a recorded request. */
const requestLimit = 256 * 1024;
const headLimit = 16 * 1024;
const headEnd = '\r\n\r\n';

/** Parses one direction of a connection; stops at input that it cannot parse. */
export class RequestRecorder {
  /** The unparsed bytes of the current request; null after input that cannot be parsed. */
  #bytes: Buffer | null = Buffer.alloc(0);
  /** Remaining bytes of a body that is too large. */
  #skipped = 0;

  /** Parses the next bytes. Returns the POST requests that they complete. */
  extractRequests(chunk: Uint8Array): Buffer[] {
    const skipped = Math.min(this.#skipped, chunk.length);
    this.#skipped -= skipped;
    if (this.#bytes !== null) this.#bytes = Buffer.concat([this.#bytes, chunk.subarray(skipped)]);
    const complete: Buffer[] = [];
    for (let request = this.#next(); request !== null; request = this.#next())
      if (request.subarray(0, 5).toString('latin1') === 'POST ') complete.push(request);
    return complete;
  }

  /** Removes and returns the first request; null if it is incomplete. */
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

/** Returns the length of a body from its head; null for a chunked body. */
function bodyLengthOf(head: string): number | null {
  if (/^transfer-encoding:/im.test(head)) return null;
  return Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
}
