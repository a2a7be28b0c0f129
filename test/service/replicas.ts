// Replicas of a service for tests. SQLite allows only one process.

import { test } from 'vitest';
import { createPostgresql, kind } from '../databases.ts';
import type { TestService } from './test-service.ts';

/** A test that needs several replicas. */
export const ofReplicas = test.runIf(kind === 'postgresql');

/**
 * Starts services as replicas on a new PostgreSQL database, at the same time: one of them creates the administrator key, which all get. Does nothing on
 * SQLite.
 * @returns The keys that were created.
 */
export async function startReplicas(replicas: readonly TestService[]): Promise<string[]> {
  const [first] = replicas;
  if (kind === 'sqlite' || first === undefined) return [];
  const database = await createPostgresql();
  for (const replica of replicas) {
    replica.database = database;
    replica.privateKeys = first.privateKeys;
  }
  await Promise.all(replicas.map((replica) => replica.start()));
  const keys = replicas.map(({ key }) => key).filter((key) => key !== '');
  for (const replica of replicas) replica.key = keys[0] ?? '';
  return keys;
}
