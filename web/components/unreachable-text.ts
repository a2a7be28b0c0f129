// The unreachable devices of a request in a line of text.

import type { Schemas } from '../../src/client/client.ts';
import { counted } from './numbers.ts';

/** Devices that the text names. */
const namedLimit = 5;

/** Returns which selected devices were unreachable at the request, and whether it left them out; null if all were reachable. */
export function unreachableText(unreachable: Schemas['UnreachableDevices'] | null): string | null {
  if (unreachable === null || unreachable.count === 0) return null;
  const { count, skipped, devices } = unreachable;
  const named = devices.slice(0, namedLimit).map(({ name }) => name);
  const more = count > named.length ? ` and ${count - named.length} more` : '';
  return `${counted(count, 'device')} at the request, ${skipped > 0 ? 'skipped' : 'whose loads wait'}: ${named.join(', ')}${more}`;
}
