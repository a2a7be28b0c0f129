// Verifies the audit trail and the signatures of builds in the browser, with the same code as the command line. Loaded on demand.

import './prepare.ts';
import { type Verification, verifyExport } from '../../src/proof/audit-export.ts';
import { KeyError, type PublicKey, readPublicKeys } from '../../src/proof/ed25519.ts';
import { type Envelope, findSigners } from '../../src/proof/envelope.ts';
import { type ParsedStatement, readStatement } from '../../src/proof/statement.ts';

export type { ParsedStatement, Verification };

/** Milliseconds of work between two yields to the browser. */
const yieldMilliseconds = 12;

export type TrailRequest = {
  /** Signed notes of checkpoints to verify against. */
  readonly checkpoints: readonly string[];
  /** Trusted public keys, concatenated PEM. */
  readonly keys: string;
  /** Called periodically with the number of verified lines. */
  readonly onProgress: (lines: number) => void;
};

/**
 * Verifies an export of the audit trail line by line.
 * @throws {KeyError} A trusted key is not valid.
 */
export function verifyTrail(lines: AsyncIterable<string>, { checkpoints, keys, onProgress }: TrailRequest): Promise<Verification> {
  return verifyExport(yieldToBrowser(lines, onProgress), { checkpoints, keys: readPublicKeys(keys), isPartial: false });
}

/** Returns why a text is not a list of public keys; null if it is. */
export function publicKeyError(text: string): string | null {
  try {
    readPublicKeys(text);
    return null;
  } catch (error) {
    if (error instanceof KeyError) return error.message;
    throw error;
  }
}

/** Returns the provenance statement of an envelope; null if it has another content. */
export const statementIn = (envelope: Envelope): ParsedStatement | null => readStatement(envelope);

/** Returns the IDs of the keys that have a valid signature in the envelope. */
export function validSigners(envelope: Envelope, keys: readonly PublicKey[]): ReadonlySet<string> {
  return new Set(findSigners(envelope, keys).map(({ keyId }) => keyId));
}

async function* yieldToBrowser(lines: AsyncIterable<string>, onProgress: (lines: number) => void): AsyncGenerator<string, void> {
  let count = 0;
  let begun = performance.now();
  for await (const line of lines) {
    yield line;
    count++;
    if (performance.now() - begun < yieldMilliseconds) continue;
    onProgress(count);
    await nextTask();
    begun = performance.now();
  }
}

/** Resolves in the next task. Not a timer: browsers throttle timers in background tabs. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
