// The messages of webhooks with long and unusual texts.

import { expect, test } from 'vitest';
import { formatMessage, type WebhookFormat } from '../../../src/service/webhooks/messages.ts';

const facts = { number: 1, at: '2026-11-23T09:30:00.000Z', actor: 'a', action: 'group.created', object: 'grp_1', outcome: 'succeeded' };

test.each<WebhookFormat>(['slack', 'teams'])('%s: a sentence that is cut within an emoji remains valid Unicode', (format) => {
  for (const offset of ['', 'x']) {
    const event = { id: 'evt_1', data: { ...facts, detail: { description: `${offset}${'😀'.repeat(2_000)}` } } };
    const { body } = formatMessage(format, event, { source: 'patchbay', publicUrl: null });
    // JSON writes half of an emoji as an escape sequence, which receivers refuse.
    expect(body).not.toMatch(/\\ud[89a-f]/);
    expect(body).toContain('…');
  }
});
