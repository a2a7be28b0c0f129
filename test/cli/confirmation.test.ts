// Confirmation of commands that cannot be undone: asked on a terminal, and never of a script.

import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { confirm } from '../../src/cli/operator/confirmation.ts';

/** Returns what is written to a terminal, and whether the answer confirms. @param answer Null: the input ends without one. */
async function ask(answer: string | null, isTTY = true) {
  const [input, output] = [Object.assign(new PassThrough(), { isTTY }), Object.assign(new PassThrough(), { isTTY })];
  let [isAsked, written] = [false, ''];
  output.on('data', (chunk) => {
    written += String(chunk);
  });
  const question = async () => {
    isAsked = true;
    return 'Decommission 3 devices?';
  };
  const asked = confirm(question, new AbortController().signal, { input, output });
  if (answer === null) input.end();
  else input.write(`${answer}\n`);
  const result = await asked.then(
    () => 'confirmed',
    (error: unknown) => String(error),
  );
  return { result, isAsked, written };
}

test.each(['y', 'Y', 'yes', ' YES '])('the answer %j confirms', async (answer) => {
  expect(await ask(answer)).toMatchObject({ result: 'confirmed', written: expect.stringContaining('Decommission 3 devices? [y/N] ') });
});

test.each(['', 'n', 'no', 'yes please', null])('the answer %j does not', async (answer) => {
  expect(await ask(answer)).toMatchObject({ result: expect.stringContaining('not confirmed: nothing was changed') });
});

test('a script is not asked', async () => {
  expect(await ask(null, false)).toEqual({ result: 'confirmed', isAsked: false, written: '' });
});
