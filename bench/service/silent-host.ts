// A host that registers devices and never says anything again: what is sent to them waits.

import { randomUUID } from 'node:crypto';
import { answerOf } from '../../src/cli/client/client.ts';
import type { Installation } from './installation.ts';

export async function registerSilentHost(installation: Installation, name: string, devices: number) {
  const body = {
    name,
    bootId: randomUUID(),
    capacity: Math.max(1, devices),
    devices: Array.from({ length: devices }, (_, index) => ({ name: `${name}-${index + 1}`, labels: { host: name }, ramPages: 256 })),
  };
  const { host, token } = answerOf(await installation.joiningClient().POST('/agent/v1/hosts', { body }));
  return { host, token, bootId: body.bootId };
}
