// The selected devices on unreachable hosts: a request waits for them, or leaves them out.

import { z } from 'zod';
import type { Connection } from '../database/connection.ts';
import { DeviceRecords } from '../devices/repository.ts';
import type { SelectedDevice } from '../devices/selection.ts';
import { HostRecords } from '../hosts/repository.ts';
import { Problem } from '../problem.ts';

/** Unreachable devices that a response names. */
export const namedUnreachableLimit = 20;

/** What a request does with unreachable devices. */
export const unreachableChoices = ['wait', 'skip'] as const;
export type UnreachableChoice = (typeof unreachableChoices)[number];

/** The unreachable devices of a request, as they were when it was accepted. */
export const UnreachableTargets = z.object({
  /** The number of selected devices that were unreachable. */
  count: z.int(),
  /** How many of them the request left out: all or none. */
  skipped: z.int(),
  /** The first of them. */
  devices: z.array(z.object({ id: z.string(), name: z.string() })),
});
export type UnreachableTargets = z.infer<typeof UnreachableTargets>;

export const noUnreachableTargets: UnreachableTargets = { count: 0, skipped: 0, devices: [] };

/** What a request does with its devices, for messages. */
type Action = 'load' | 'unload';

type Split<Device> = { readonly targets: readonly Device[]; readonly unreachable: UnreachableTargets };

/**
 * Reads which of these devices are unreachable.
 * @param action What the requests do.
 * @returns A function that returns the targets of one request. It throws {Problem} `all-unreachable` if it leaves all devices out.
 */
export async function unreachableSplitter(
  connection: Connection,
  all: readonly Pick<SelectedDevice, 'hostId'>[],
  action: Action = 'load',
): Promise<<Device extends SelectedDevice>(devices: readonly Device[], choice?: UnreachableChoice) => Promise<Split<Device>>> {
  const hosts = await new HostRecords(connection).findUnreachable([...new Set(all.map(({ hostId }) => hostId))]);
  return async (devices, choice = 'wait') => {
    const left = hosts.size === 0 ? [] : devices.filter(({ hostId }) => hosts.has(hostId));
    if (left.length === 0) return { targets: devices, unreachable: noUnreachableTargets };
    const targets = choice === 'skip' ? devices.filter(({ hostId }) => !hosts.has(hostId)) : devices;
    if (targets.length === 0) throw allUnreachable(left.length, action);
    const named = await nameDevices(connection, left.slice(0, namedUnreachableLimit));
    return { targets, unreachable: { count: left.length, skipped: choice === 'skip' ? left.length : 0, devices: named } };
  };
}

async function nameDevices(connection: Connection, devices: readonly SelectedDevice[]): Promise<UnreachableTargets['devices']> {
  const known = await new DeviceRecords(connection).reachabilityOf(devices.map(({ id }) => id));
  return devices.map(({ id }) => ({ id, name: known.get(id)?.name ?? id }));
}

function allUnreachable(devices: number, action: Action): Problem {
  const object = action === 'load' ? 'to load' : 'to unload the module from';
  const subject = devices === 1 ? `the device ${object} is` : `all ${devices} devices ${object} are`;
  return new Problem(
    'all-unreachable',
    `${subject} unreachable, and the request skips unreachable devices. Start their hosts, or use "unreachable": "wait" to ${action} when they connect`,
  );
}

/** Returns what the audit trail records of skipped devices. */
export function skippedFacts({ skipped }: UnreachableTargets): { unreachable?: 'skip'; skipped?: number } {
  return skipped === 0 ? {} : { unreachable: 'skip', skipped };
}
