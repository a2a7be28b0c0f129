// Node's Buffer, as far as src/proof uses it, for where there is none: what it proves on the command line it proves in a browser.

type Encoding = 'utf8' | 'hex' | 'base64' | 'base64url';

/** Bytes that are read and written as texts. */
export class Bytes extends Uint8Array<ArrayBuffer> {
  override toString(encoding: Encoding = 'utf8'): string {
    switch (encoding) {
      case 'utf8':
        return new TextDecoder('utf-8', { ignoreBOM: true }).decode(this);
      case 'hex':
        return Array.from(this, (byte) => byte.toString(16).padStart(2, '0')).join('');
      case 'base64':
        return btoa(Array.from(this, (byte) => String.fromCharCode(byte)).join(''));
      case 'base64url':
        return this.toString('base64').replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
    }
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, place) => byte === other[place]);
  }

  override subarray(begin?: number, end?: number): Bytes {
    const { buffer, byteOffset, length } = super.subarray(begin, end);
    return new Bytes(buffer, byteOffset, length);
  }
}

function bytesOf(content: ArrayLike<number>): Bytes {
  const bytes = new Bytes(new ArrayBuffer(content.length));
  bytes.set(content);
  return bytes;
}

function from(text: string, encoding?: Encoding): Bytes;
function from(bytes: Uint8Array): Bytes;
function from(buffer: ArrayBuffer, offset: number, length: number): Bytes;
function from(content: string | Uint8Array | ArrayBuffer, how?: Encoding | number, length?: number): Bytes {
  if (content instanceof ArrayBuffer) return new Bytes(content, Number(how), length);
  if (typeof content !== 'string') return bytesOf(content);
  switch (how) {
    case 'hex':
      return bytesOf((/^(?:[0-9a-f]{2})*/i.exec(content)?.[0].match(/../g) ?? []).map((digits) => Number.parseInt(digits, 16)));
    case 'base64':
    case 'base64url':
      return fromBase64(content);
    default:
      return bytesOf(new TextEncoder().encode(content));
  }
}

/** Either alphabet; as Node has it, other letters are passed over, and what follows the padding too. */
function fromBase64(text: string): Bytes {
  const [whole = ''] = text.split('=');
  const letters = whole
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replaceAll(/[^A-Za-z0-9+/]/g, '');
  const binary = atob(letters.length % 4 === 1 ? letters.slice(0, -1) : letters);
  return bytesOf(Array.from(binary, (letter) => letter.charCodeAt(0)));
}

function concat(parts: readonly Uint8Array[]): Bytes {
  const all = new Bytes(new ArrayBuffer(parts.reduce((sum, { length }) => sum + length, 0)));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

const byteLength = (text: string) => new TextEncoder().encode(text).length;

export const Buffer = { from, concat, byteLength };
