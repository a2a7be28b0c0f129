// Confirmation of commands that cannot be undone: asked on a terminal, and never of a script.

import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { confirm } from '../../src/cli/operator/confirmation.ts';

/** Returns what is written to a terminal, and whether the response confirms. @param response Null: the input ends without one. */
async function ask(response: string | null, isTTY = true) {
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
  if (response === null) input.end();
  else input.write(`${response}\n`);
  const result = await asked.then(
    () => 'confirmed',
    (error: unknown) => String(error),
  );
  return { result, isAsked, written };
}

test.each(['y', 'Y', 'yes', ' YES '])('the response %j confirms', async (response) => {
  expect(await ask(response)).toMatchObject({ result: 'confirmed', written: expect.stringContaining('Decommission 3 devices? [y/N] ') });
});

test.each(['', 'n', 'no', 'yes please', null])('the response %j does not', async (response) => {
  expect(await ask(response)).toMatchObject({ result: expect.stringContaining('not confirmed: nothing was changed') });
});

test('a script is not asked', async () => {
  expect(await ask(null, false)).toEqual({ result: 'confirmed', isAsked: false, written: '' });
});
