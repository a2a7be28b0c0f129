// Prisma Client as queries outside transactions use it.

import type { Prisma } from './generated/client.ts';

/** What both clients of Prisma have, typed as that for SQLite: it is the one that can do less. */
export type QueryClient = Omit<Prisma.TransactionClient, '$transaction' | '$executeRaw' | '$executeRawUnsafe'>;
