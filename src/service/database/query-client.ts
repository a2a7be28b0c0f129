// The Prisma client for queries outside transactions.

import type { Prisma } from './generated/client.ts';

/** The common interface of both Prisma clients, typed as that for SQLite, which supports less. */
export type QueryClient = Omit<Prisma.TransactionClient, '$transaction' | '$executeRaw' | '$executeRawUnsafe'>;
