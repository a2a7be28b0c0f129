// A host that registers devices and then stays silent: loads for them stay queued.

import { randomUUID } from 'node:crypto';
import { createPatchbayClient, unwrapResponse } from '../../src/client/client.ts';
import type { Installation } from './installation.ts';
import { registrationOf } from './simulated-host.ts';

export async function registerSilentHost(
  { url, joinToken }: Pick<Installation, 'url' | 'joinToken'>,
  name: string,
  devices: number,
): Promise<void> {
  const body = registrationOf(name, randomUUID(), devices, { host: name });
  unwrapResponse(await createPatchbayClient(url, joinToken).POST('/agent/v1/hosts', { body }));
}
