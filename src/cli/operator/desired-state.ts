// The desired versions of a device as text.

import type { Schemas } from '../../client/client.ts';
import { formatTable } from '../terminal/table.ts';

/** Returns the module or the patch set whose version is desired. */
export const contentOf = ({ module, patchSet }: Pick<Schemas['Assignment'], 'module' | 'patchSet'>) => module ?? `${patchSet} (patch set)`;

/** Returns the desired and the installed versions, the assignments that decide, and why the device does not have a version. */
export function formatDesiredState({ deviceName, versions, overridden }: Schemas['DeviceDesiredState']): string[] {
  const table = versions.map((item) => [
    contentOf(item),
    item.desiredVersion ?? '-',
    item.installedVersion ?? '-',
    item.state,
    item.reason ?? '-',
    item.assignmentName,
    item.mode,
    item.detail ?? '-',
  ]);
  return [
    ...(table.length === 0
      ? [`no assignment decides for ${deviceName}`]
      : formatTable(['CONTENT', 'DESIRED', 'INSTALLED', 'STATE', 'REASON', 'ASSIGNMENT', 'MODE', 'DETAIL'], table)),
    ...overridden.map(({ assignmentName, byName }) => `the assignment ${assignmentName} is overridden by ${byName}`),
  ];
}
