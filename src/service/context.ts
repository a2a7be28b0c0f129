// What every part of control works with.

import type { Compiler } from '../compiler/compiler.ts';
import type { Clock } from './clock/service-clock.ts';
import type { DamagedRows } from './database/damaged-rows.ts';
import type { Store } from './database/store.ts';
import type { OrderBoard } from './orders/order-board.ts';
import type { SigningKeys } from './signing-keys/signing-keys.ts';

export type Context = {
  readonly store: Store;
  readonly compiler: Compiler;
  readonly orderBoard: OrderBoard;
  readonly signingKeys: SigningKeys;
  readonly clock: Clock;
  readonly damagedRows: DamagedRows;
};
