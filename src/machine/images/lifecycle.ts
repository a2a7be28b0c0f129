// Lifecycle exports of an image: which of its exports a load calls, and whether they have the types of the ABI.

import { hookExports, type LifecycleExport, lifecycleExports } from '../abi.ts';
import { formatFunctionType, isSameFunctionType } from './function-type.ts';
import type { ExportedFunction, FunctionType, Stamp } from './stamp.ts';

/** Returns whether a load calls an export of this name in an image with this stamp. */
export function isLifecycleExport(name: string, { hooks }: Pick<Stamp, 'hooks'>): name is LifecycleExport {
  if (!Object.hasOwn(lifecycleExports, name)) return false;
  return hooks.includes(name) || !hookExports.some((hook) => hook === name);
}

/** Returns the names of the exports that the stamp of a new image lists as hooks. */
export function hooksAmong(exports: readonly Pick<ExportedFunction, 'name'>[]): string[] {
  return hookExports.filter((hook) => exports.some(({ name }) => name === hook));
}

/** Returns which type a function with the name of a lifecycle export must have, and which it has; null if it has the right type. */
export function describeWrongType(name: LifecycleExport, type: FunctionType): string | null {
  const expected = lifecycleExports[name];
  return isSameFunctionType(type, expected) ? null : `${name} must be ${formatFunctionType(expected)}; it is ${formatFunctionType(type)}`;
}
