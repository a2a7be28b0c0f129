// Reports of loads come back from the database as devices have made them.

import { expect, test } from 'vitest';
import { exampleLoadReport, LoadReport } from '../../../src/protocol/load-report.ts';
import { decodeReport, encodeReport } from '../../../src/service/loads/stored-report.ts';

const report = LoadReport.parse(exampleLoadReport);

test('a report is the same after it was kept, to the order of its members', () => {
  expect(JSON.stringify(decodeReport(JSON.parse(encodeReport(report))))).toBe(JSON.stringify(report));
});

test('two reports of loads that interrupt are on one page of the database', () => {
  const page = 4_096;
  expect(encodeReport(report).length).toBeLessThan(page / 2 - 64);
});

test('what was kept before, step by step with names, is told as it is', () => {
  expect(decodeReport(JSON.parse(JSON.stringify(report)))).toEqual(report);
  for (const other of [null, 'text', [], {}, { steps: null }]) expect(decodeReport(other)).toEqual(other);
});
