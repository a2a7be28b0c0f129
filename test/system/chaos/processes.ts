// The processes of the chaos test, as a user starts them: the service and its hosts, killed and restarted with the same arguments.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { PatchbayProcess } from '../../../src/cli/running/patchbay-process.ts';
import type { Random } from './random.ts';

/** The label of every device. */
const fleetLabel = 'fleet=chaos';

/** Creates a replica of the service. @param folder The folder of the files that all replicas share. */
export function createServiceProcess(name: string, port: number, database: string, folder: string): RestartableProcess {
  const args = ['serve', '--no-embedded-host', '--port', String(port), '--database', database, '--unreachable-after', '4'];
  const files = ['--token-file', join(folder, 'join-token'), '--admin-key-file', join(folder, 'admin-key')];
  return new RestartableProcess(name, [...args, ...files, '--signing-keys', join(folder, 'signing-keys')], /API +http/);
}

/** Creates a device host. */
export function createHostProcess(name: string, controlUrl: string, devices: number, folder: string): RestartableProcess {
  const args = ['host', '--control', controlUrl, '--name', name, '--devices', String(devices), '--labels', fleetLabel];
  const token = ['--token-file', join(folder, 'join-token')];
  return new RestartableProcess(name, [...args, ...token, '--log-level', 'error'], / joins /);
}

/** Maximum time until a process is ready, despite faults of its database and network, in milliseconds. */
const readyMilliseconds = 90_000;

/** A process that can be killed and restarted. */
export class RestartableProcess {
  readonly name: string;
  readonly #args: readonly string[];
  readonly #ready: RegExp;
  #child: PatchbayProcess | null = null;
  /** Describes an exit without a kill; null if there was none. */
  #unexpectedExit: string | null = null;
  /** The last lines of earlier runs. */
  readonly #earlierLines: string[] = [];

  constructor(name: string, args: readonly string[], ready: RegExp) {
    this.name = name;
    this.#args = args;
    this.#ready = ready;
  }

  get unexpectedExit(): string | null {
    return this.#unexpectedExit;
  }

  /** The last lines of this run and of earlier runs. */
  get lastLines(): string {
    return [...this.#earlierLines, this.#child?.lastLines ?? ''].filter((lines) => lines !== '').join('\n--- killed\n');
  }

  start(): void {
    const child = new PatchbayProcess(this.name, this.#args);
    this.#child = child;
    child.exited.then((end) => {
      if (this.#child === child) this.#unexpectedExit = `${this.name} exited unexpectedly (${end}):\n${child.lastLines}`;
    });
  }

  /** Waits until the process prints that it is ready. @throws {Error} if it exits first. */
  async ready(): Promise<void> {
    await this.#child?.waitForLine(this.#ready, readyMilliseconds);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    await child?.stop('SIGKILL');
    this.#earlierLines.push(child?.lastLines ?? '');
    this.#earlierLines.splice(0, this.#earlierLines.length - 3);
  }
}

/** Ports below the ephemeral range, so that no client takes the port of the service during a restart. */
const ports = { min: 20_000, max: 29_999 } as const;

/** Returns a port that no process listens on. */
export async function findFreePort(random: Random): Promise<number> {
  for (;;) {
    const port = random.integer(ports.min, ports.max);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
