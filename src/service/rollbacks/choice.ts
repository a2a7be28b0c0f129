// What a rollback does on each device.

import type { SelectedDevice } from '../devices/selection.ts';
import type { Target } from '../loads/batches.ts';

/** A module that a rollback changes. */
type ModuleChange = {
  readonly module: string;
  /** The version on the device, as far as the service knows; null: none. */
  readonly current: string | null;
  /** The version to return to; null: the rollback unloads the module. */
  readonly target: string | null;
};

export type Choice =
  | ({ readonly kind: 'target'; readonly changes: readonly ModuleChange[] } & Target)
  /** The device has the version. */
  | { readonly kind: 'unchanged'; readonly device: SelectedDevice; readonly version: string }
  /** The device has no version to return to. */
  | { readonly kind: 'missing'; readonly device: SelectedDevice; readonly reason: string };
