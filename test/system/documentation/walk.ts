// Walks a page of the documentation: starts a service and runs the page's commands.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect } from 'vitest';
import { PatchbayProcess } from '../../../src/cli/running/patchbay-process.ts';
import { environment } from '../../cli/command.ts';
import { until } from '../../service/test-service.ts';
import { root, shellBlocks } from '../documentation-pages.ts';
import { retryingClient } from '../retrying-client.ts';

/** Replaces npx, which takes a second or more to find the command. generated-files.test.ts tests the real `npx patchbay`. */
const npxFunction = `npx() { [ "$1" = patchbay ] && shift && node "${join(root, 'bin', 'patchbay.js')}" "$@"; }`;

/** A page has dozens of commands, each a process. */
export const manyProcesses = { timeout: 300_000 };

/** One walk for each test of a file: its folder is new, and its service is stopped after the test. */
export class Walk {
  folder = '';
  #service: PatchbayProcess | null = null;

  constructor() {
    beforeEach(() => {
      this.folder = mkdtempSync(join(tmpdir(), 'patchbay-documentation-'));
    });
    afterEach(async () => {
      await this.#service?.stop('SIGKILL');
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  get keyFile(): string {
    return join(this.folder, 'data', 'admin-key');
  }

  /** Starts a service and runs the shell commands of a page in a folder. Returns their output. */
  async runPage(page: string, cwd: string, ...options: string[]): Promise<string> {
    return this.runBlocks(blocksOf(page), cwd, await this.startService(options));
  }

  /** Starts a service, in place of one that runs, and waits until its devices are connected. Returns its URL. */
  async startService(options: readonly string[] = []): Promise<string> {
    await this.#service?.stop();
    const database = join(this.folder, 'data', 'patchbay.db');
    this.#service = new PatchbayProcess('the service', ['serve', '--port', '0', '--database', database, ...options]);
    const [, url = ''] = await this.#service.waitForLine(/API +(http:\S+)\/v1$/);
    const client = retryingClient(url, this.keyFile);
    const areConnected = async () => (await client.GET('/v1/health')).data?.devices.connected === 4;
    if (!options.includes('--no-embedded-host')) await until('the devices are connected', areConnected);
    return url;
  }

  /** Runs shell blocks as one script. Returns standard output and standard error. */
  async runBlocks(blocks: readonly string[], cwd: string, url: string, changes: Record<string, string> = {}): Promise<string> {
    const { stdout, stderr } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', `${npxFunction}\n${blocks.join('\n')}`], {
      cwd,
      env: environment({
        SERVICE: url,
        PATCHBAY_SERVICE: url,
        PATCHBAY_KEY_FILE: this.keyFile,
        ADMIN_KEY_FILE: this.keyFile,
        HOME: this.folder,
        ...changes,
      }),
    });
    return `${stdout}\n${stderr}`;
  }
}

/** Returns the blocks of shell commands of a page, which has at least one. */
export function blocksOf(page: string): string[] {
  const blocks = shellBlocks(page);
  expect(blocks.length).toBeGreaterThan(0);
  return blocks;
}
