// The messages of webhooks: CloudEvents 1.0 in JSON, and the formats of Slack and Microsoft Teams.

import { toHashedEvent } from '../../proof/audit-event.ts';
import { formatHash } from '../../proof/merkle-tree.ts';
import type { AuditRecord } from '../audit-events/repository.ts';

export const webhookFormats = ['cloudevents', 'slack', 'teams'] as const;
export type WebhookFormat = (typeof webhookFormats)[number];

/** The content of an event in messages: the AuditEvent of the API. */
type EventData = Readonly<Record<string, unknown>> & {
  readonly number: number;
  readonly at: string;
  readonly actor: string;
  readonly action: string;
  readonly object: string;
  readonly outcome: string;
};

/** An event to send, with an identifier that is the same in every attempt. */
export type WebhookEvent = { readonly id: string; readonly data: EventData };

/** The sender of messages. */
export type MessageSource = {
  /** Identifies the installation; the `source` of CloudEvents. */
  readonly source: string;
  /** Where people reach the dashboard, without a slash at the end. Null: messages have no links. */
  readonly publicUrl: string | null;
};

export type Message = { readonly contentType: string; readonly body: string };

/** Hexadecimal digits of the hash in the identifier of an event. */
const hashDigits = 16;
/** Maximum characters of a sentence: Slack and Teams cut longer ones. */
const maxSentence = 2_000;

/**
 * Returns an event of the audit trail. Its identifier contains the number and the hash: after the database was restored from a backup, numbers are used
 * again for other events, and receivers that drop duplicates must not drop those.
 */
export function toWebhookEvent(event: AuditRecord): WebhookEvent {
  const hash = formatHash(event.hash);
  const digits = hash.slice(hash.indexOf(':') + 1).slice(0, hashDigits);
  return { id: `evt_${event.number}_${digits}`, data: { ...toHashedEvent(event), hash } };
}

/** Returns the message of an event in a format. */
export function formatMessage(format: WebhookFormat, event: WebhookEvent, source: MessageSource): Message {
  if (format === 'cloudevents')
    return { contentType: 'application/cloudevents+json; charset=utf-8', body: JSON.stringify(toCloudEvent(event, source)) };
  const content = format === 'slack' ? toSlackMessage(event.data, source) : toTeamsMessage(event.data, source);
  return { contentType: 'application/json; charset=utf-8', body: JSON.stringify(content) };
}

function toCloudEvent({ id, data }: WebhookEvent, { source }: MessageSource) {
  return {
    specversion: '1.0',
    id,
    source,
    type: `com.patchbay.${data.action}`,
    subject: data.object,
    time: data.at,
    datacontenttype: 'application/json',
    data,
  };
}

/** Returns an event in one sentence, for example "load completed: lod_… (device dev_…, module tcp, version 1.1.0), by hst_…". */
function describeEvent({ action, object, outcome, actor, detail }: EventData): string {
  const facts = typeof detail === 'object' && detail !== null ? Object.entries(detail) : [];
  const shown = facts.flatMap(([name, value]) => (['string', 'number'].includes(typeof value) ? [`${name} ${value}`] : []));
  const result = outcome === 'succeeded' ? '' : `, ${outcome}`;
  const sentence = `${action.replace('.', ' ').replaceAll('-', ' ')}${result}: ${object}${shown.length === 0 ? '' : ` (${shown.join(', ')})`}, by ${actor}`;
  return sentence.length <= maxSentence ? sentence : `${sentence.slice(0, maxSentence).toWellFormed()}…`;
}

/** Pages of the dashboard by the identifier prefix of their object. */
const pagesOfObjects = [
  ['dev_', 'devices'],
  ['lod_', 'loads'],
  ['rol_', 'rollouts'],
] as const;

/** Returns the URL of the page about the object of an event, or of its audit events; null if the URL of the dashboard is unknown. */
function linkOf({ object }: EventData, { publicUrl }: MessageSource): string | null {
  if (publicUrl === null) return null;
  const page = pagesOfObjects.find(([prefix]) => object.startsWith(prefix));
  return page === undefined ? `${publicUrl}/audit?object=${encodeURIComponent(object)}` : `${publicUrl}/${page[1]}/${object}`;
}

/** https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks */
function toSlackMessage(event: EventData, source: MessageSource) {
  const text = escapeSlack(describeEvent(event));
  const link = linkOf(event, source);
  const elements = [{ type: 'mrkdwn', text: `Event ${event.number}, ${event.at}${link === null ? '' : `, <${link}|open in Patchbay>`}` }];
  return {
    text,
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', text } },
      { type: 'context', elements },
    ],
  };
}

/** Slack reads these characters as markup. */
const escapeSlack = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** https://learn.microsoft.com/en-us/connectors/teams/#microsoft-teams-webhook */
function toTeamsMessage(event: EventData, source: MessageSource) {
  const link = linkOf(event, source);
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [
      { type: 'TextBlock', text: describeEvent(event), wrap: true },
      { type: 'TextBlock', text: `Event ${event.number}, ${event.at}`, isSubtle: true, size: 'Small', wrap: true },
    ],
    ...(link === null ? {} : { actions: [{ type: 'Action.OpenUrl', title: 'Open in Patchbay', url: link }] }),
  };
  return { type: 'message', attachments: [{ contentType: 'application/vnd.microsoft.card.adaptive', contentUrl: null, content }] };
}
