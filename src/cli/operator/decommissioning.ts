// How decommissioned devices and hosts are printed.

import type { Schemas } from '../../client/client.ts';
import { formatTime } from '../terminal/times.ts';

/** Returns the line that says how a device or host was decommissioned; none if it was not. */
export function formatDecommissioned(decommissioned: Schemas['Decommissioned'] | null): string[] {
  if (decommissioned === null) return [];
  const { at, by, reason } = decommissioned;
  return [`decommissioned ${formatTime(at)} by ${by}: ${reason}`];
}

/** Returns the result of decommissioning in one line. */
export function formatDecommissioning({ devices, cancelledLoads }: Schemas['DecommissionedDevices']): string {
  const [ofDevices, ofLoads] = [devices.length === 1 ? 'device' : 'devices', cancelledLoads === 1 ? 'load' : 'loads'];
  return `decommissioned ${devices.length} ${ofDevices}, cancelled ${cancelledLoads} open ${ofLoads}`;
}
