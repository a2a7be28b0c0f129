// Bytes as texts, by what runtimes and browsers have in common.

declare global {
  // Since ECMAScript 2026; the types of TypeScript 5.9 leave both out.
  interface Uint8ArrayConstructor {
    /** @throws {SyntaxError} */
    fromBase64(text: string): Uint8Array<ArrayBuffer>;
  }
  interface Uint8Array {
    toBase64(): string;
  }
}

export type Bytes = Uint8Array<ArrayBuffer>;

/** The bytes of a base64 text; none where the text is not base64, so that a wrong signature verifies as a wrong one. */
export function fromBase64(text: string): Bytes {
  try {
    return Uint8Array.fromBase64(text);
  } catch (error) {
    if (error instanceof SyntaxError) return new Uint8Array();
    throw error;
  }
}

/** The text of UTF-8. A byte order mark stays, and what is not UTF-8 becomes U+FFFD. */
export function decodeUtf8(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}

/** Whether two sequences of bytes are the same. */
export function isSameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, place) => byte === right[place]);
}
