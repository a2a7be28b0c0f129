// How many random cases a test runs.

/** Returns the number of cases: all of them with `npm run test:everything`, a fifth with `npm test`. */
export function randomCases(all: number): number {
  return process.env['TEST_EVERYTHING'] === undefined ? Math.ceil(all / 5) : all;
}
