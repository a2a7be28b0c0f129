// What the page of a device watches.

import type { Schemas } from '../../../src/client/client.ts';

export type DeviceDetail = Schemas['DeviceDetail'];
export type Watched = {
  readonly device: DeviceDetail;
  readonly host: string;
  readonly programs: readonly Schemas['Program'][];
  readonly hasMorePrograms: boolean;
};
