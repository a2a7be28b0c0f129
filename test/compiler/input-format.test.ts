// Input in the wrong format is detected, and the message says what to do.

import { gzipSync } from 'node:zlib';
import { afterAll, expect, test } from 'vitest';
import { Compiler } from '../../src/compiler/compiler.ts';
import { bracketNesting, detectWrongFormat } from '../../src/compiler/input-format.ts';
import type { Language } from '../../src/compiler/languages.ts';

const compiler = new Compiler();
afterAll(() => compiler.close());

const compile = (language: Language, source: string | Uint8Array) =>
  compiler.compileModule({ module: 'tcp', version: '1.0.0', language, source });

const bytes = (...values: readonly number[]) => new Uint8Array([...values, 0, 0, 0, 0, 0, 0, 0, 0]);
const text = (content: string) => new TextEncoder().encode(content);
const lfsPointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n';
const wat = '(module (func (export "one") (result i32) (i32.const 1)))';

test.each<[string, Language, string | Uint8Array, string]>([
  ['a component', 'wasm', bytes(0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00), 'received a component'],
  [
    'another version',
    'wasm',
    bytes(0x00, 0x61, 0x73, 0x6d, 0x02, 0x00, 0x00, 0x00),
    'expected version 1 of the binary format, received version 2',
  ],
  ['a header cut off', 'wasm', new Uint8Array([0x00, 0x61, 0x73, 0x6d, 0x01]), 'truncated'],
  ['nothing', 'wasm', new Uint8Array(), '0 bytes'],
  ['gzip', 'wasm', gzipSync(wat), 'gzip'],
  ['a ZIP archive', 'wasm', bytes(0x50, 0x4b, 0x03, 0x04), 'ZIP'],
  ['an ELF file', 'wasm', bytes(0x7f, 0x45, 0x4c, 0x46), 'ELF'],
  ['an HTML page', 'wasm', text('\n<!DOCTYPE html><html><body>Not found</body></html>'), 'HTML'],
  ['JSON', 'wasm', text('{"error": "not found"}'), 'JSON'],
  ['a Git LFS pointer', 'wasm', text(lfsPointer), 'git lfs pull'],
  ['WAT', 'wasm', text(`;; one\n${wat}`), 'push it with the language "wat"'],
  ['text', 'wasm', wat, 'as bytes, received text'],
  ['a binary module', 'wat', '\0asm\u0001\0\0\0', 'binary WebAssembly module'],
  ['a binary module', 'assemblyscript', '\0asm\u0001\0\0\0', 'binary WebAssembly module'],
  ['a Git LFS pointer', 'wat', lfsPointer, 'git lfs pull'],
  ['an HTML page', 'assemblyscript', '<html><head></head></html>', 'HTML'],
  ['UTF-16 with a mark', 'wat', new Uint8Array(Buffer.from(`\uFEFF${wat}`, 'utf16le')), 'UTF-16'],
  ['UTF-16 without a mark', 'assemblyscript', new Uint8Array(Buffer.from('export function f', 'utf16le')), 'UTF-16'],
])('detects %s pushed as %s', async (_what, language, source, message) => {
  const result = await compile(language, source);
  expect(result).toMatchObject({
    ok: false,
    problem: language === 'wasm' ? 'not-webassembly' : 'malformed-source',
    diagnostics: [{ severity: 'error', message: expect.stringContaining(message) }],
  });
});

test('accepts valid sources and modules', () => {
  expect(detectWrongFormat('wat', wat)).toBeNull();
  expect(detectWrongFormat('assemblyscript', '[1, 2].length;')).toBeNull();
  expect(detectWrongFormat('wasm', bytes(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00))).toBeNull();
});

test('compiles WAT with a byte order mark and non-ASCII export names', async () => {
  const source = '\uFEFF;; größe\n(module (func (export "größe – 大小") (result i32) (i32.const 1)))';
  for (const given of [source, text(source)]) {
    expect(await compile('wat', given)).toMatchObject({ ok: true, compiled: { interface: { exports: [{ name: 'größe – 大小' }] } } });
  }
});

test('ignores brackets in comments and strings', () => {
  expect(bracketNesting('wat', '(module ;; ((((\n (func (export "((((")))')).toBe(3);
  expect(bracketNesting('assemblyscript', 'f(a[0], "((((", \'[[[[\' /* (((( */); // ((((')).toBe(2);
});
