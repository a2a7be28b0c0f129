// The gate of an image: functions of the types of its exports that stand in its place in a device's memory until its first access.

import type { ExportedFunction } from '../machine/image.ts';
import { parametersText, resultsText } from './access-stub.ts';

/**
 * Text of the gate: export number n, called, asks the processor for the image's own function n (which instantiates the image on the device)
 * and goes on there. So an image on an idle device costs neither instance nor memory, and its first caller notices nothing.
 */
export function gateText(exports: readonly ExportedFunction[]): string {
  const functions = exports.map(
    (type, index) => `
    (type $${index} (func ${parametersText(type)} ${resultsText(type)}))
    (func (export "${index}") (type $${index}) ${parametersText(type)} ${resultsText(type)}
      (call_ref $${index} ${type.parameters.map((_, parameter) => `(local.get $${parameter})`).join(' ')}
        (ref.cast (ref $${index}) (call $resolve (i32.const ${index})))))`,
  );
  return `(module (import "patchbay" "resolve" (func $resolve (param i32) (result funcref))) ${functions.join('')})`;
}
