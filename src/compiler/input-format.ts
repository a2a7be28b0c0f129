// Detects input that does not match its declared language: another file format, another encoding, or the other form of WebAssembly.

import { type Language, languageInfo, type SourceLanguage } from './languages.ts';

/** Returns the beginning of the bytes as text, for detection. */
const textPrefix = (bytes: Uint8Array) => new TextDecoder().decode(bytes.subarray(0, 512)).trimStart();

function startsWith(bytes: Uint8Array, ...expected: readonly number[]): boolean {
  return expected.every((byte, index) => bytes[index] === byte);
}

type Signature = {
  readonly matches: (bytes: Uint8Array) => boolean;
  readonly message: string;
};

/** Formats that users push by mistake as sources or modules, the most specific first. */
const formats: readonly Signature[] = [
  {
    matches: (bytes) => startsWith(bytes, 0x1f, 0x8b),
    message: 'the input is gzip-compressed: decompress it first (gunzip)',
  },
  {
    matches: (bytes) => startsWith(bytes, 0x50, 0x4b, 0x03, 0x04),
    message: 'the input is a ZIP archive: unpack it and push the module inside',
  },
  {
    matches: (bytes) => startsWith(bytes, 0x28, 0xb5, 0x2f, 0xfd),
    message: 'the input is Zstandard-compressed: decompress it first (zstd -d)',
  },
  {
    matches: (bytes) => startsWith(bytes, 0x7f, 0x45, 0x4c, 0x46),
    message: 'the input is an ELF file with native machine code: compile for the target wasm32',
  },
  {
    matches: (bytes) => startsWith(bytes, 0x21, 0x3c, 0x61, 0x72, 0x63, 0x68, 0x3e),
    message: 'the input is an archive of object files (.a): link it into a module first (wasm-ld --no-entry)',
  },
  {
    matches: (bytes) => startsWith(bytes, 0x42, 0x43, 0xc0, 0xde),
    message: 'the input is LLVM bitcode: compile and link it into a module first',
  },
  {
    matches: (bytes) => startsWith(bytes, 0xff, 0xfe) || startsWith(bytes, 0xfe, 0xff) || isWideText(bytes),
    message: 'the input is UTF-16 text: save it as UTF-8',
  },
  {
    matches: (bytes) => textPrefix(bytes).startsWith('version https://git-lfs.github.com/'),
    message: 'the input is a Git LFS pointer, not the file itself: run "git lfs pull" first',
  },
  {
    matches: (bytes) => /^<(!doctype html|html|head|body)[\s>]/i.test(textPrefix(bytes).replace(/^\uFEFF/, '')),
    message: 'the input is an HTML page, probably an error page of a download server: download the file again',
  },
];

/** Returns whether ASCII characters alternate with zero bytes. */
function isWideText(bytes: Uint8Array): boolean {
  if (bytes.length < 8) return false;
  const isText = (byte: number | undefined) =>
    byte !== undefined && (byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127));
  const pairs = [0, 2, 4, 6];
  return (
    pairs.every((index) => isText(bytes[index]) && bytes[index + 1] === 0) ||
    pairs.every((index) => bytes[index] === 0 && isText(bytes[index + 1]))
  );
}

const isWasm = (bytes: Uint8Array) => startsWith(bytes, 0x00, 0x61, 0x73, 0x6d);

/** Returns why bytes are not a core module; null if their form does not show it. */
function wasmFault(bytes: Uint8Array): string | null {
  if (bytes.length === 0) return 'the module is empty: 0 bytes';
  if (isWasm(bytes)) return headerFault(bytes);
  const start = textPrefix(bytes).replace(/^\uFEFF/, '');
  if (/^(\(|;;)/.test(start))
    return 'expected a binary module, received WebAssembly text: push it with the language "wat" (a file named .wat)';
  if (/^[{[]/.test(start)) return 'expected a binary module, received JSON';
  return null;
}

/** Returns why the version or layer after the magic number is not the one of a core module; null if it is. */
function headerFault(bytes: Uint8Array): string | null {
  if (bytes.length < 8) return `the module is truncated: expected a header of 8 bytes, received ${bytes.length} bytes`;
  const [version, , layer] = bytes.subarray(4);
  if (layer === 1) {
    return 'expected a core module, received a component: push the core module inside ("wasm-tools component unbundle"), or build for wasm32-unknown-unknown';
  }
  return version === 1 ? null : `expected version 1 of the binary format, received version ${version}`;
}

/** Returns why bytes are not source text. */
function textFault(language: SourceLanguage, bytes: Uint8Array): string | null {
  if (isWasm(bytes))
    return `expected ${languageInfo[language].name} text, received a binary WebAssembly module: push it with the language "wasm" (a file named .wasm)`;
  if (language === 'wat' && /^[{[]/.test(textPrefix(bytes))) return 'expected WAT text, received JSON';
  if (bytes.subarray(0, 512).includes(0)) return 'the source contains the character U+0000: expected text';
  return null;
}

/** Returns what a source is instead of its declared language, and what to do; null if its form matches the language. It can still be malformed. */
export function detectWrongFormat(language: Language, source: string | Uint8Array): string | null {
  if (language === 'wasm' && typeof source === 'string') return 'expected a prebuilt module as bytes, received text';
  const bytes = typeof source === 'string' ? new TextEncoder().encode(source.slice(0, 1_024)) : source;
  const format = formats.find(({ matches }) => matches(bytes));
  if (format !== undefined) return format.message;
  return language === 'wasm' ? wasmFault(bytes) : textFault(language, bytes);
}

/** Decodes a source to text without a byte order mark. */
export function decodeSource(source: string | Uint8Array): string {
  return typeof source === 'string' ? source.replace(/^\uFEFF/, '') : new TextDecoder().decode(source);
}

const opening = new Set(['(', '[', '{']);
const closing = new Set([')', ']', '}']);

/** Returns how deep the brackets of a source text nest. An upper bound: brackets in regular expressions and templates count as code. */
export function bracketNesting(language: SourceLanguage, text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(languageInfo[language].brackets)) {
    if (opening.has(token)) depth += 1;
    else if (closing.has(token)) depth = Math.max(0, depth - 1);
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}
