// The machine and the version of a benchmark run.

import { spawnSync } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { z } from 'zod';
import { median } from './measuring.ts';

const Package = z.object({ version: z.string() });
const Cpu = z.object({ model: z.string() });
/** Number of appends; their median is used. */
const syncs = 200;

export function machineFacts() {
  const [first] = cpus();
  const database = new Database(':memory:');
  const sqlite = String(database.prepare<[], unknown>('SELECT sqlite_version()').pluck().get());
  database.close();
  return {
    patchbay: Package.parse(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))).version,
    commit: commit(),
    cpu: Cpu.safeParse(first).data?.model ?? null,
    cores: cpus().length,
    memoryBytes: totalmem(),
    node: process.version,
    sqlite,
    syncMilliseconds: syncTime(),
  };
}

/** Null if there is no repository. */
function commit(): string | null {
  const { status, stdout } = spawnSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
}

/** Returns the duration of an append of 4 KiB with fdatasync, in milliseconds. */
function syncTime(): number {
  const folder = mkdtempSync(join(tmpdir(), 'patchbay-bench-sync-'));
  const file = openSync(join(folder, 'file'), 'a');
  const times = Array.from({ length: syncs }, () => {
    const began = performance.now();
    writeSync(file, Buffer.alloc(4_096, 1));
    fdatasyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  rmSync(folder, { recursive: true });
  return median(times);
}
