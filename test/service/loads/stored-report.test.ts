// Load reports are unchanged after storing and reading them.

import { expect, test } from 'vitest';
import { exampleLoadReport, LoadReport } from '../../../src/protocol/load-report.ts';
import { decodeReport, encodeReport } from '../../../src/service/loads/stored-report.ts';

const report = LoadReport.parse(exampleLoadReport);

test('a report is the same after encoding and decoding, including the order of its properties', () => {
  expect(JSON.stringify(decodeReport(JSON.parse(encodeReport(report))))).toBe(JSON.stringify(report));
});

test('times of any form are the same after encoding and decoding', () => {
  for (const at of ['2026-11-30T05:00:00.123Z', '2026-11-30T05:00:00Z', '2026-11-30T07:00:00.123456+02:00', 'no time']) {
    const timed = { ...report, steps: report.steps.map((step) => ({ ...step, at })) };
    expect(decodeReport(JSON.parse(encodeReport(timed)))).toEqual(timed);
  }
});

test('a damaged time is returned unchanged', () => {
  expect(decodeReport({ steps: [['received', 200, 1e300]] })).toMatchObject({ steps: [{ at: 1e300 }] });
});

test('two reports of interrupting loads fit on one database page', () => {
  const page = 4_096;
  expect(encodeReport(report).length).toBeLessThan(page / 2 - 64);
});

test('a report in the older format, with property names, is returned unchanged', () => {
  expect(decodeReport(JSON.parse(JSON.stringify(report)))).toEqual(report);
  for (const other of [null, 'text', [], {}, { steps: null }]) expect(decodeReport(other)).toEqual(other);
});
