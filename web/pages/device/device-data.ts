// The data of the device page.

import type { Schemas } from '../../../src/client/client.ts';

export type DeviceDetail = Schemas['DeviceDetail'];
export type DeviceData = {
  readonly device: DeviceDetail;
  readonly host: string;
  /** The host that the device moves to; null if it does not move. */
  readonly newHost: string | null;
  readonly programs: readonly Schemas['Program'][];
  readonly hasMorePrograms: boolean;
};
