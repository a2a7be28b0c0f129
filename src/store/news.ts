// What replicas of the service tell each other: what there may be to be read, by whoever waits for it.

import { z } from 'zod';
import { announcementLimit } from './engine.ts';

export type News = {
  /** Whether there are new events. */
  readonly events: boolean;
  /** Whether loads have got their outcomes. */
  readonly loads: boolean;
  /** Hosts that have new orders, or room for more; `all` where it is not known which. */
  readonly hosts: readonly string[] | 'all';
  /** Hosts whose streams of orders are to end. */
  readonly endedStreams: readonly string[];
};

export const noNews: News = { events: false, loads: false, hosts: [], endedStreams: [] };

/** Where something may have been missed. */
export const anyNews: News = { events: true, loads: true, hosts: 'all', endedStreams: [] };

const Told = z.object({
  events: z.boolean(),
  loads: z.boolean(),
  hosts: z.union([z.array(z.string()), z.literal('all')]),
  endedStreams: z.array(z.string()),
});

/** The news as they are announced, in as many texts as they need; none where there is nothing to be told. */
export function announcementsOf(news: News): string[] {
  const { events, loads, hosts, endedStreams } = news;
  if (!events && !loads && hosts.length === 0 && endedStreams.length === 0) return [];
  const text = JSON.stringify(news);
  if (text.length <= announcementLimit) return [text];
  if (hosts !== 'all') return announcementsOf({ ...news, hosts: 'all' });
  const half = Math.ceil(endedStreams.length / 2);
  return [
    ...announcementsOf({ ...news, endedStreams: endedStreams.slice(0, half) }),
    ...announcementsOf({ ...noNews, endedStreams: endedStreams.slice(half) }),
  ];
}

/** What was announced; a text that another version of the service sends may be anything. */
export function newsOf(text: string | null): News {
  if (text === null) return anyNews;
  try {
    return Told.parse(JSON.parse(text));
  } catch {
    return anyNews;
  }
}
