// The processes of the chaos, as a user starts them: the service and its hosts, killed and started again with the same arguments.

import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { PatchbayProcess } from '../../../src/cli/running/patchbay-process.ts';
import type { Random } from './random.ts';

/** The label of every device. */
const fleetLabel = 'fleet=chaos';

/** The command line of a replica of the service. @param folder Where files are that are the same for all replicas. */
export function serviceProcess(name: string, port: number, database: string, folder: string): RestartedProcess {
  const args = ['serve', '--no-embedded-host', '--port', String(port), '--database', database, '--unreachable-after', '4'];
  const files = ['--token-file', join(folder, 'join-token'), '--admin-key-file', join(folder, 'admin-key')];
  return new RestartedProcess(name, [...args, ...files, '--signing-keys', join(folder, 'signing-keys')], /API +http/);
}

/** The command line of a host. */
export function hostProcess(name: string, controlUrl: string, devices: number, folder: string): RestartedProcess {
  const args = ['host', '--control', controlUrl, '--name', name, '--devices', String(devices), '--labels', fleetLabel];
  const token = ['--token-file', join(folder, 'join-token')];
  return new RestartedProcess(name, [...args, ...token, '--log-level', 'error'], / joins /);
}

/** How long a process may take to be ready, its database and its network being as they are, in milliseconds. */
const readyMilliseconds = 90_000;

/** A process that is killed and started again. */
export class RestartedProcess {
  readonly name: string;
  readonly #args: readonly string[];
  readonly #ready: RegExp;
  #child: PatchbayProcess | null = null;
  /** How it ended when nobody had killed it; null while that has not happened. */
  #ownEnd: string | null = null;
  /** What the lives that are over said last. */
  readonly #lastWords: string[] = [];

  constructor(name: string, args: readonly string[], ready: RegExp) {
    this.name = name;
    this.#args = args;
    this.#ready = ready;
  }

  get ownEnd(): string | null {
    return this.#ownEnd;
  }

  /** What it has said lately, in this life and the last ones. */
  get tail(): string {
    return [...this.#lastWords, this.#child?.lastLines ?? ''].filter((words) => words !== '').join('\n--- killed\n');
  }

  start(): void {
    const child = new PatchbayProcess(this.name, this.#args);
    this.#child = child;
    child.exited.then((end) => {
      if (this.#child === child) this.#ownEnd = `${this.name} ended by itself (${end}):\n${child.lastLines}`;
    });
  }

  /** Resolves when it has said that it is ready. @throws {Error} when it ends without. */
  async ready(): Promise<void> {
    await this.#child?.waitForLine(this.#ready, readyMilliseconds);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    await child?.stop('SIGKILL');
    this.#lastWords.push(child?.lastLines ?? '');
    this.#lastWords.splice(0, this.#lastWords.length - 3);
  }
}

/** Ports below those that the system gives to clients: none of them takes the service's port while it is away. */
const ports = { least: 20_000, most: 29_999 } as const;

/** A port that nobody listens on. */
export async function freePort(random: Random): Promise<number> {
  for (;;) {
    const port = random.integer(ports.least, ports.most);
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
