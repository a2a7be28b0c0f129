// What src/proof finds in a browser where Node has Buffer.

import type { Bytes, Buffer as StandIn } from './buffer.ts';

declare global {
  interface Buffer extends Bytes {}
  var Buffer: typeof StandIn;
}
