// Resolves the signatures that policies require for a load, for each of its devices.

import type { SignatureRequirement } from '../../proof/build-proof.ts';
import { matchesLabelSelector } from '../../protocol/label-selector.ts';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import { toLabelSelector } from '../devices/selection.ts';
import { GroupRecords } from '../groups/repository.ts';
import { PublisherKeyRecords } from '../publisher-keys/repository.ts';
import type { SignaturePolicyRecord } from './repository.ts';
import { SignaturePolicyRecords } from './repository.ts';

/** Returns the demands on builds of a module on a device; empty if no policy applies. */
export type DemandsOn = (module: string, device: string) => readonly SignatureRequirement[];

/** Resolves the demands of devices, from the current policies, labels and publisher keys. */
export async function resolveDemands(connection: Connection, modules: readonly string[], deviceIds: readonly string[]): Promise<DemandsOn> {
  const policies = await new SignaturePolicyRecords(connection).findForModules(modules);
  if (policies.length === 0) return () => [];
  const named = new Set(policies.flatMap(({ publisherKeys }) => publisherKeys));
  const keys = new Map((await new PublisherKeyRecords(connection).findMany([...named])).map((key) => [key.id, key]));
  const byLabels = policies.some(({ deviceId }) => deviceId === null);
  const labels = byLabels ? await new DeviceRecords(connection).labelsOf(deviceIds) : new Map<string, Record<string, string>>();
  const groups = await new GroupRecords(connection).selectorsOf(policies.flatMap(({ groupId }) => groupId ?? []));
  const demands = policies.map((policy) => {
    // Signatures of a revoked key do not count: other keys must sign, or the demand cannot be met.
    const usable = policy.publisherKeys.flatMap((id) => keys.get(id) ?? []).filter(({ revokedAt }) => revokedAt === null);
    const { id, name, threshold } = policy;
    const demand = { policy: id, name, publicKeys: usable.map(({ publicKey }) => publicKey), threshold };
    return { policy, selector: toLabelSelector({ ...policy, groupSelector: policy.groupId && groups.get(policy.groupId) }), demand };
  });
  return (module, device) => {
    const ofDevice = new Map(Object.entries(labels.get(device) ?? {}));
    return demands
      .filter(({ policy, selector }) => appliesTo(policy, module, device) && matchesLabelSelector(selector, ofDevice))
      .map(({ demand }) => demand);
  };
}

/** Returns whether a policy applies to builds of a module on a device that its labels, its selector and its group match. */
function appliesTo({ deviceId, module: only }: SignaturePolicyRecord, module: string, device: string): boolean {
  return (only === null || only === module) && (deviceId === null || deviceId === device);
}
