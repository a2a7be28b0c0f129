// What is found of an audit trail that is not whole.

import { expect, test } from 'vitest';
import { verifyTrail } from '../../src/cli/operator/audit-verification.ts';

const event = (number: number, at = `2026-11-24T09:00:0${number}.000Z`) => {
  return { number, at, actor: 'somebody', action: 'load.requested', object: `bat_${number}`, request: null, detail: {} };
};

async function* trail(...events: ReturnType<typeof event>[]) {
  yield* events;
}

test('a trail is whole when its numbers rise by one and its times do not run backwards', async () => {
  expect(await verifyTrail(trail())).toEqual({ events: 0, bad: null });
  const together = event(2, event(1).at);
  expect(await verifyTrail(trail(event(1), together, event(3)))).toEqual({ events: 3, bad: null });
});

test.each([
  ['a first event that is not the first', [event(2)], 2, 0, /should be 1: events are missing/],
  ['a gap', [event(1), event(2), event(4), event(6)], 4, 2, /should be 3: events are missing/],
  ['an event that is there twice', [event(1), event(1)], 1, 1, /should be 2/],
  ['a time before the one before', [event(1), event(2, '2026-11-24T08:59:59.999Z'), event(4)], 2, 1, /earlier than the event before it/],
  ['a time that is none', [event(1, 'yesterday')], 1, 0, /"yesterday", is none/],
])('%s is the first bad event', async (_what, events, number, good, why) => {
  expect(await verifyTrail(trail(...events))).toMatchObject({ events: good, bad: { event: { number }, why: expect.stringMatching(why) } });
});
