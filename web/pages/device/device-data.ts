// The data of the device page.

import type { Schemas } from '../../../src/client/client.ts';

export type DeviceDetail = Schemas['DeviceDetail'];
export type DeviceData = {
  readonly device: DeviceDetail;
  readonly host: string;
  readonly programs: readonly Schemas['Program'][];
  readonly hasMorePrograms: boolean;
};
