// Confirmation of commands that cannot be undone: asked on a terminal, and never of a script.

import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { confirm } from '../../src/cli/operator/confirmation.ts';
import { chooseUnreachable } from '../../src/cli/operator/unreachable-choice.ts';
import type { Schemas } from '../../src/client/client.ts';

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

describe('unreachable devices', () => {
  const device = (deviceName: string, reachable: boolean, forecast: Schemas['LoadForecast'] = 'would-replace') => ({
    deviceName,
    reachable,
    forecast,
  });
  const mixed = [device('rack-1', true), device('rack-2', false), device('rack-3', false), device('rack-4', false, 'already-installed')];

  /** Returns the choice and what is written to the terminal. */
  async function choose(
    response: string,
    {
      devices = mixed,
      options = {},
      isTTY = true,
    }: { devices?: typeof mixed; options?: Parameters<typeof chooseUnreachable>[1]; isTTY?: boolean } = {},
  ) {
    const [input, output] = [Object.assign(new PassThrough(), { isTTY }), Object.assign(new PassThrough(), { isTTY })];
    let written = '';
    output.on('data', (chunk) => {
      written += String(chunk);
    });
    let previews = 0;
    const preview = async () => {
      previews += 1;
      return devices;
    };
    const chosen = chooseUnreachable({ signal: new AbortController().signal }, options, preview, { input, output });
    input.write(`${response}\n`);
    return { choice: await chosen.catch(String), written, previews };
  }

  test.each([
    ['w', 'wait'],
    ['Skip', 'skip'],
    ['', 'CommandError: not confirmed: nothing was changed'],
    ['y', 'CommandError: not confirmed: nothing was changed'],
  ])('the response %j to the question is %s', async (response, choice) => {
    expect(await choose(response)).toMatchObject({
      choice,
      written: expect.stringContaining('2 of 3 devices are unreachable (rack-2, rack-3). Wait for them, skip them or cancel? [w/s/C] '),
    });
  });

  test('of which all are unreachable cannot be skipped', async () => {
    const { choice, written } = await choose('s', { devices: [device('rack-2', false)] });
    expect(choice).toContain('not confirmed');
    expect(written).toContain('1 of 1 device is unreachable (rack-2). Wait for them or cancel? [w/C] ');
  });

  test('ask nothing of a script, with an option, with --yes, or if all can be reached', async () => {
    expect(await choose('', { isTTY: false })).toEqual({ choice: undefined, written: '', previews: 0 });
    expect(await choose('', { options: { unreachable: 'skip' } })).toEqual({ choice: 'skip', written: '', previews: 0 });
    expect(await choose('', { options: { yes: true } })).toEqual({ choice: undefined, written: '', previews: 0 });
    expect(await choose('', { devices: [device('rack-1', true)] })).toEqual({ choice: undefined, written: '', previews: 1 });
  });
});
