// Which devices of a host have their turn to report their states.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type RoundRobinDevice, StateRoundRobin, statesPerRound } from '../../src/host/state-round-robin.ts';
import { DeviceId, newIdentifier } from '../../src/protocol/identifiers.ts';

const device = (mayHaveChanged: boolean): RoundRobinDevice => ({ mayHaveChanged });
const newDevice = () => DeviceId.parse(newIdentifier('device'));
const idsOf = (turn: Iterable<[DeviceId, RoundRobinDevice]>) => [...turn].map(([id]) => id);

test('in each turn as many are taken as may be, none twice, and whoever may have changed comes before another comes again', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 4 * statesPerRound }), fc.integer({ min: 1, max: 8 }), (changes, turns) => {
      const devices = new Map(changes.map((mayHaveChanged) => [newDevice(), device(mayHaveChanged)] as const));
      const changing = [...devices].flatMap(([id, { mayHaveChanged }]) => (mayHaveChanged ? [id] : []));
      const rounds = new StateRoundRobin(devices);
      const taken: DeviceId[] = [];
      for (let turn = 0; turn < turns; turn += 1) {
        const ids = idsOf(rounds.nextRound());
        expect(ids).toHaveLength(Math.min(changing.length, statesPerRound));
        taken.push(...ids);
      }
      expect(taken).toEqual(taken.map((_, index) => changing[index % changing.length]));
    }),
  );
});

test('a device that comes has its turn, also where there was none', () => {
  const devices = new Map<DeviceId, RoundRobinDevice>();
  const rounds = new StateRoundRobin(devices);
  expect(idsOf(rounds.nextRound())).toEqual([]);
  const [first, second] = [newDevice(), newDevice()];
  devices.set(first, device(true));
  expect(idsOf(rounds.nextRound())).toEqual([first]);
  devices.set(second, device(true));
  expect(idsOf(rounds.nextRound()).toSorted()).toEqual([first, second].toSorted());
});
