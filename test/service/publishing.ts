// A publisher as a test plays them: a pair of keys, registered with a service, whose signatures are put to builds.

import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { z } from 'zod';
import type { Answer, Bench } from './fixture.ts';

const Envelope = z.object({
  payloadType: z.string(),
  payload: z.string(),
  signatures: z.array(z.object({ keyid: z.string(), sig: z.string() })),
});
export type Envelope = z.infer<typeof Envelope>;

/** What is signed, by the specification of DSSE and not by the code under test. */
export function preAuthenticationEncoding({ payloadType, payload }: Envelope): Buffer {
  const bytes = Buffer.from(payload, 'base64');
  return Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${bytes.length} `), bytes]);
}

/** The identifier that envelopes give to a public key. */
export function keyIdOf(pem: string): string {
  const der = createPublicKey(pem).export({ format: 'der', type: 'spki' });
  return `sha256:${createHash('sha256').update(der).digest('hex')}`;
}

export async function provenanceOf(bench: Bench, module: string, version: string): Promise<Envelope> {
  return Envelope.parse((await bench.get(`/v1/modules/${module}/builds/${version}/provenance`)).body);
}

export class Publisher {
  readonly name: string;
  readonly publicKey: string;
  readonly keyId: string;
  readonly #bench: Bench;
  readonly #privateKey: KeyObject;
  /** Of the registered key. */
  id = '';

  constructor(bench: Bench, name: string) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.name = name;
    this.publicKey = publicKey.export({ format: 'pem', type: 'spki' }).toString();
    this.keyId = keyIdOf(this.publicKey);
    this.#bench = bench;
    this.#privateKey = privateKey;
  }

  async register(): Promise<this> {
    const { body } = await this.#bench.post('/v1/publisher-keys', { name: this.name, publicKey: this.publicKey });
    this.id = String(body['id']);
    return this;
  }

  signatureOf(envelope: Envelope): string {
    return sign(null, preAuthenticationEncoding(envelope), this.#privateKey).toString('base64');
  }

  /** Puts a signature to a build: by itself the right one. */
  async sign(module: string, version: string, signature?: string): Promise<Answer> {
    const right = this.signatureOf(await provenanceOf(this.#bench, module, version));
    return this.#bench.post(`/v1/modules/${module}/builds/${version}/signatures`, { keyId: this.keyId, signature: signature ?? right });
  }

  revoke(): Promise<Answer> {
    return this.#bench.post(`/v1/publisher-keys/${this.id}/revoke`, undefined);
  }
}
