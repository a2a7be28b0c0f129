// Parts of a device host: outbox, image cache and back-off.

import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { BackOff } from '../../src/host/back-off.ts';
import { ImageCache } from '../../src/host/image-cache.ts';
import { Outbox } from '../../src/host/outbox.ts';
import { digestOf, ImageError } from '../../src/machine/index.ts';
import { agentLimits, Report, type ReportInput } from '../../src/protocol/agent.ts';
import { delay } from '../../src/protocol/back-off.ts';
import { newIdentifier } from '../../src/protocol/identifiers.ts';
import { parseRetryAfter } from '../../src/protocol/retry-after.ts';
import { compiler, workModule } from '../machine/test-machine.ts';

const devices = Array.from({ length: 3 }, () => newIdentifier('device'));
const state = (second: number) => ({
  at: new Date(second * 1_000).toISOString(),
  moduleTable: [],
  memoryMap: { pageBytes: 4096, pages: 1, usedPages: 0, ranges: [] },
  programs: [],
});
const orderReport = (device: string) =>
  Report.parse({ kind: 'device-attached', order: newIdentifier('order'), device, state: state(0), failure: null });
const stateReport = (device: string, second: number) => Report.parse({ kind: 'device-state', device, state: state(second) });

test('the outbox delivers every order report once and in order, and only the newest state, despite failures', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('order' as const), device: fc.constantFrom(...devices) }),
    fc.record({ kind: fc.constant('state' as const), device: fc.constantFrom(...devices) }),
    fc.record({ kind: fc.constant('send' as const), delivered: fc.boolean(), meanwhile: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const outbox = new Outbox();
      const added: ReportInput[] = [];
      const delivered: ReportInput[] = [];
      let second = 0;
      const add = (report: ReportInput) => {
        added.push(report);
        outbox.add(report);
      };
      for (const one of steps) {
        second += 1;
        if (one.kind === 'order') add(orderReport(one.device));
        else if (one.kind === 'state') add(stateReport(one.device, second));
        else {
          const batch = outbox.next();
          if (one.meanwhile) add(stateReport(devices[0] ?? '', second));
          if (!one.delivered) continue;
          delivered.push(...batch.reports);
          expect(JSON.parse(batch.text)).toEqual(batch.reports);
          outbox.acknowledge(batch);
        }
      }
      for (let batch = outbox.next(); batch.reports.length > 0; batch = outbox.next()) {
        delivered.push(...batch.reports);
        outbox.acknowledge(batch);
      }
      const orders = (reports: readonly ReportInput[]) => reports.filter(({ kind }) => kind !== 'device-state');
      expect(orders(delivered)).toEqual(orders(added));
      const last = (reports: readonly ReportInput[], device: string) =>
        reports.findLast((report) => report.kind === 'device-state' && report.device === device);
      for (const device of devices) expect(last(delivered, device)).toEqual(last(added, device));
    }),
  );
});

test('a request has no more reports than the limit of the service', () => {
  const outbox = new Outbox();
  for (let index = 0; index < agentLimits.reportsPerRequest + 10; index += 1) outbox.add(orderReport(devices[0] ?? ''));
  expect(outbox.next().reports).toHaveLength(agentLimits.reportsPerRequest);
});

test('ignores a report that is queued already, and accepts it again after its delivery', () => {
  const outbox = new Outbox();
  const report = orderReport(devices[0] ?? '');
  for (let index = 0; index < 3; index += 1) outbox.add(report);
  expect(outbox.next().reports).toEqual([report]);
  outbox.acknowledge(outbox.next());
  expect(outbox.orderReportCount).toBe(0);
  outbox.add(report);
  expect(outbox.next().reports).toEqual([report]);
});

test('the outbox wakes its waiter, also when the host stops', async () => {
  const outbox = new Outbox();
  const stop = new AbortController();
  const filled = outbox.waitUntilFilled(stop.signal);
  outbox.add(orderReport(devices[0] ?? ''));
  await filled;
  outbox.acknowledge(outbox.next());
  const ending = outbox.waitUntilFilled(stop.signal);
  stop.abort();
  await expect(ending).resolves.toBeUndefined();
});

async function imageBytes(version: string): Promise<{ digest: string; bytes: Uint8Array<ArrayBuffer> }> {
  const result = await compiler.compileModule({ module: 'tcp', version, language: 'wat', source: workModule(0) });
  if (!result.ok) throw new Error('does not compile');
  return { digest: result.compiled.digest, bytes: new Uint8Array(result.compiled.image) };
}

test('concurrent requests share one download of an image, and an evicted image is downloaded again', async () => {
  const one = await imageBytes('1.0.0');
  const two = await imageBytes('1.1.0');
  const downloads: string[] = [];
  const cache = new ImageCache(
    async (digest) => {
      downloads.push(digest);
      return digest === one.digest ? one.bytes : two.bytes;
    },
    { bytes: one.bytes.length + 10 },
  );
  const [first, second] = await Promise.all([cache.get(one.digest), cache.get(one.digest)]);
  expect(second).toBe(first);
  await cache.get(two.digest);
  await cache.get(one.digest);
  expect(downloads).toEqual([one.digest, two.digest, one.digest]);
});

test('evicts the least recently used image', async () => {
  const images = await Promise.all(['1.0.0', '1.1.0', '1.2.0'].map(imageBytes));
  const [one, two, three] = images.map(({ digest }) => digest);
  if (one === undefined || two === undefined || three === undefined) throw new Error('there are three');
  const downloads: string[] = [];
  const cache = new ImageCache(
    async (digest) => {
      downloads.push(digest);
      return images.find((image) => image.digest === digest)?.bytes ?? new Uint8Array();
    },
    { bytes: 2 * Math.max(...images.map(({ bytes }) => bytes.length)) },
  );
  for (const digest of [one, two, one, three, one]) await cache.get(digest);
  expect(downloads).toEqual([one, two, three]);
  await cache.get(two);
  expect(downloads).toEqual([one, two, three, two]);
});

test('downloads above the cache limit succeed, and the cache keeps its limit', async () => {
  const images = await Promise.all(['1.0.0', '1.1.0', '1.2.0'].map(imageBytes));
  const digests = images.map(({ digest }) => digest);
  const bytesOf = async (digest: string) => images.find((image) => image.digest === digest)?.bytes ?? new Uint8Array();
  const cache = new ImageCache(bytesOf, { images: 2 });
  const received = await Promise.all(digests.map((digest) => cache.get(digest)));
  expect(received.map(({ digest }) => digest)).toEqual(digests);
  expect(cache.size).toBe(2);
});

test('refuses an image with the wrong digest, and downloads it again on the next request', async () => {
  const { digest, bytes } = await imageBytes('1.0.0');
  const downloads = [new TextEncoder().encode('something else'), bytes];
  const cache = new ImageCache(async () => downloads.shift() ?? bytes);
  await expect(cache.get(digest)).rejects.toThrow(ImageError);
  expect((await cache.get(digest)).digest).toBe(digest);
  expect(digestOf(bytes)).toBe(digest);
});

test('a host waits for Retry-After, limited to one minute', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  /** The maximum that the back-off adds to Retry-After at the first attempt. */
  const jitter = 100;
  for (const [asked, least] of [
    [0, 0],
    [2_500, 2_500],
    [60_000, 60_000],
    [86_400_000, 60_000],
  ] as const) {
    let isOver = false;
    const waiting = new BackOff().wait(new AbortController().signal, asked).then(() => {
      isOver = true;
    });
    await vi.advanceTimersByTimeAsync(Math.max(0, least - 1));
    if (least > 0) expect(isOver).toBe(false);
    await vi.advanceTimersByTimeAsync(jitter + 1);
    expect(isOver).toBe(true);
    await waiting;
  }
});

test('reads Retry-After in seconds or as a date, and ignores anything else', () => {
  const asked = (text: string) => parseRetryAfter(new Headers({ 'retry-after': text }));
  fc.assert(fc.property(fc.nat({ max: 1_000_000 }), (seconds) => asked(String(seconds)) === seconds * 1_000));
  expect(asked(new Date(0).toUTCString())).toBe(0);
  expect(asked(new Date(Date.now() + 3_600_000).toUTCString())).toBeGreaterThan(3_000_000);
  for (const text of ['', 'soon', '-', '1 s']) expect(asked(text)).toBeNull();
  expect(parseRetryAfter(new Headers())).toBeNull();
});

test('waits end immediately when the host stops', async () => {
  const stop = new AbortController();
  const waiting = Promise.all([delay(1_000_000, stop.signal), new BackOff().wait(stop.signal)]);
  stop.abort();
  await expect(waiting).resolves.toHaveLength(2);
  await expect(delay(1_000_000, stop.signal)).resolves.toBeUndefined();
});
