// Conversions between bytes and strings, with functions that Node.js and browsers share.

declare global {
  // ECMAScript 2026; missing in the types of TypeScript 5.9.
  interface Uint8ArrayConstructor {
    /** @throws {SyntaxError} */
    fromBase64(text: string): Uint8Array<ArrayBuffer>;
  }
  interface Uint8Array {
    toBase64(): string;
  }
}

export type Bytes = Uint8Array<ArrayBuffer>;

/** Decodes base64. Returns no bytes for an invalid text, so that an invalid signature fails verification. */
export function fromBase64(text: string): Bytes {
  try {
    return Uint8Array.fromBase64(text);
  } catch (error) {
    if (error instanceof SyntaxError) return new Uint8Array();
    throw error;
  }
}

/** Decodes UTF-8. Keeps a byte order mark, and replaces invalid bytes by U+FFFD. */
export function decodeUtf8(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}

/** Returns whether two byte sequences are equal. */
export function isSameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, place) => byte === right[place]);
}
