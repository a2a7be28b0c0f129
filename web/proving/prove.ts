// What is proven in the browser, and not believed: the audit trail, and the signatures of builds. By the code of src/proof, as on the command line.
// Loaded only where it is asked for.

import './prepare.ts';
import { type Verification, verifyExport } from '../../src/proof/audit-export.ts';
import { KeyError, type PublicKey, readPublicKeys } from '../../src/proof/ed25519.ts';
import { type Envelope, findSigners } from '../../src/proof/envelope.ts';
import { type ParsedStatement, readStatement } from '../../src/proof/statement.ts';

export type { ParsedStatement as ReadStatement, Verification };

/** Milliseconds after which the page has its turn, to be drawn and to be used. */
const turn = 12;

export type TrailRequest = {
  /** Notes of checkpoints that the trail is held against. */
  readonly checkpoints: readonly string[];
  /** Public keys that are trusted, in PEM, one after another. */
  readonly keys: string;
  /** Called now and then with how many lines have been gone through. */
  readonly onProgress: (lines: number) => void;
};

/**
 * Walks along an export of the trail, line by line, and tells whether it is as it was written.
 * @throws {KeyError} where what is to be trusted is no key.
 */
export function proveTrail(lines: AsyncIterable<string>, { checkpoints, keys, onProgress }: TrailRequest): Promise<Verification> {
  return verifyExport(inTurns(lines, onProgress), { checkpoints, keys: readPublicKeys(keys), isPartial: false });
}

/** Why a text is not the public keys that are to be trusted; null where it is. */
export function faultOfKeys(text: string): string | null {
  try {
    readPublicKeys(text);
    return null;
  } catch (error) {
    if (error instanceof KeyError) return error.message;
    throw error;
  }
}

/** What an envelope states of a build; null where it is no such statement. */
export const statementIn = (envelope: Envelope): ParsedStatement | null => readStatement(envelope);

/** Identifiers of those of these keys whose signatures of the envelope are good. */
export function goodSigners(envelope: Envelope, keys: readonly PublicKey[]): ReadonlySet<string> {
  return new Set(findSigners(envelope, keys).map(({ keyId }) => keyId));
}

async function* inTurns(lines: AsyncIterable<string>, onProgress: (lines: number) => void): AsyncGenerator<string, void> {
  let count = 0;
  let begun = performance.now();
  for await (const line of lines) {
    yield line;
    count++;
    if (performance.now() - begun < turn) continue;
    onProgress(count);
    await afterOthers();
    begun = performance.now();
  }
}

/** Resolves after what the browser has to do besides; not by a timer, which it slows down behind other tabs. */
function afterOthers(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
