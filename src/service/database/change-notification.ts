// Change notifications between replicas of the service.

import { z } from 'zod';
import { maxNotificationBytes } from './engine.ts';

export type ChangeNotification = {
  /** Whether there are new events. */
  readonly events: boolean;
  /** Whether loads have ended. */
  readonly loads: boolean;
  /** Hosts with new orders, or with capacity for more; `all` if unknown. */
  readonly hosts: readonly string[] | 'all';
  /** Hosts whose order streams may have to be closed; `all` if unknown. */
  readonly endedStreams: readonly string[] | 'all';
};

/** The notification to assume if one may have been missed. */
export const anyChange: ChangeNotification = { events: true, loads: true, hosts: 'all', endedStreams: 'all' };

const Hosts = z.union([z.array(z.string()), z.literal('all')]);
const Notification = z.object({ events: z.boolean(), loads: z.boolean(), hosts: Hosts, endedStreams: Hosts });

/** Encodes a notification as at most `maxNotificationBytes`; returns null if nothing has changed. */
export function encodeNotification(notification: ChangeNotification): string | null {
  const { events, loads, hosts, endedStreams } = notification;
  if (!events && !loads && hosts.length === 0 && endedStreams.length === 0) return null;
  const text = JSON.stringify(notification);
  if (text.length <= maxNotificationBytes) return text;
  return JSON.stringify({ ...notification, hosts: 'all', endedStreams: endedStreams.length === 0 ? [] : 'all' });
}

/** Decodes a notification. A missing or unknown one, for example of another version, decodes as `anyChange`. */
export function decodeNotification(text: string | null): ChangeNotification {
  if (text === null) return anyChange;
  try {
    return Notification.parse(JSON.parse(text));
  } catch {
    return anyChange;
  }
}
