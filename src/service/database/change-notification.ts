// What replicas of the service tell each other: what there may be to be read, by whoever waits for it.

import { z } from 'zod';
import { maxNotificationBytes } from './engine.ts';

export type ChangeNotification = {
  /** Whether there are new events. */
  readonly events: boolean;
  /** Whether loads have got their outcomes. */
  readonly loads: boolean;
  /** Hosts that have new orders, or room for more; `all` where it is not known which. */
  readonly hosts: readonly string[] | 'all';
  /** Hosts whose streams of orders may have come to their end; `all` where it is not known which. */
  readonly endedStreams: readonly string[] | 'all';
};

/** Where something may have been missed. */
export const anyChange: ChangeNotification = { events: true, loads: true, hosts: 'all', endedStreams: 'all' };

const Hosts = z.union([z.array(z.string()), z.literal('all')]);
const Told = z.object({ events: z.boolean(), loads: z.boolean(), hosts: Hosts, endedStreams: Hosts });

/** The news as they are announced; null where there is nothing to be told. */
export function encodeNotification(news: ChangeNotification): string | null {
  const { events, loads, hosts, endedStreams } = news;
  if (!events && !loads && hosts.length === 0 && endedStreams.length === 0) return null;
  const text = JSON.stringify(news);
  if (text.length <= maxNotificationBytes) return text;
  return JSON.stringify({ ...news, hosts: 'all', endedStreams: endedStreams.length === 0 ? [] : 'all' });
}

/** What was announced; a text that another version of the service sends may be anything. */
export function decodeNotification(text: string | null): ChangeNotification {
  if (text === null) return anyChange;
  try {
    return Told.parse(JSON.parse(text));
  } catch {
    return anyChange;
  }
}
