// A test publisher: a key pair, registered with a service, that signs builds.

import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { z } from 'zod';
import type { TestService } from './test-service.ts';

const Envelope = z.object({
  payloadType: z.string(),
  payload: z.string(),
  signatures: z.array(z.object({ keyid: z.string(), sig: z.string() })),
});
export type Envelope = z.infer<typeof Envelope>;

/** Returns the signed bytes according to the DSSE specification, independently of the code under test. */
export function preAuthenticationEncoding({ payloadType, payload }: Envelope): Buffer {
  const bytes = Buffer.from(payload, 'base64');
  return Buffer.concat([Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${bytes.length} `), bytes]);
}

/** Returns the identifier of a public key in envelopes. */
export function keyIdOf(pem: string): string {
  const der = createPublicKey(pem).export({ format: 'der', type: 'spki' });
  return `sha256:${createHash('sha256').update(der).digest('hex')}`;
}

export async function provenanceOf(service: TestService, module: string, version: string): Promise<Envelope> {
  return Envelope.parse((await service.get(`/v1/modules/${module}/builds/${version}/provenance`)).body);
}

export class Publisher {
  readonly name: string;
  readonly publicKey: string;
  readonly keyId: string;
  readonly #service: TestService;
  readonly #privateKey: KeyObject;
  /** Identifier of the registered key. */
  id = '';

  constructor(service: TestService, name: string) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.name = name;
    this.publicKey = publicKey.export({ format: 'pem', type: 'spki' }).toString();
    this.keyId = keyIdOf(this.publicKey);
    this.#service = service;
    this.#privateKey = privateKey;
  }

  async register(): Promise<this> {
    const { body } = await this.#service.post('/v1/publisher-keys', { name: this.name, publicKey: this.publicKey });
    this.id = String(body.id);
    return this;
  }

  signatureOf(envelope: Envelope): string {
    return sign(null, preAuthenticationEncoding(envelope), this.#privateKey).toString('base64');
  }

  /** Adds a signature to a build; by default a valid one. */
  async sign(module: string, version: string, signature?: string) {
    const right = this.signatureOf(await provenanceOf(this.#service, module, version));
    return this.#service.post(`/v1/modules/${module}/builds/${version}/signatures`, { keyId: this.keyId, signature: signature ?? right });
  }

  revoke() {
    return this.#service.post(`/v1/publisher-keys/${this.id}/revoke`, undefined);
  }
}
