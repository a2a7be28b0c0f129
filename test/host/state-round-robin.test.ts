// The choice of the devices that report their states next.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type RoundRobinDevice, StateRoundRobin, statesPerRound } from '../../src/host/state-round-robin.ts';
import { DeviceId, newIdentifier } from '../../src/protocol/identifiers.ts';

const device = (mayHaveChanged: boolean): RoundRobinDevice => ({ mayHaveChanged });
const newDevice = () => DeviceId.parse(newIdentifier('device'));
const idsOf = (round: Iterable<[DeviceId, RoundRobinDevice]>) => [...round].map(([id]) => id);

test('each round is full and without duplicates, and every changed device is in a round before another is repeated', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 4 * statesPerRound }), fc.integer({ min: 1, max: 8 }), (changes, turns) => {
      const devices = new Map(changes.map((mayHaveChanged) => [newDevice(), device(mayHaveChanged)] as const));
      const changing = [...devices].flatMap(([id, { mayHaveChanged }]) => (mayHaveChanged ? [id] : []));
      const rounds = new StateRoundRobin(devices);
      const taken: DeviceId[] = [];
      for (let round = 0; round < turns; round += 1) {
        const ids = idsOf(rounds.nextRound());
        expect(ids).toHaveLength(Math.min(changing.length, statesPerRound));
        taken.push(...ids);
      }
      expect(taken).toEqual(taken.map((_, index) => changing[index % changing.length]));
    }),
  );
});

test('a new device is in the next round, also as the first device', () => {
  const devices = new Map<DeviceId, RoundRobinDevice>();
  const rounds = new StateRoundRobin(devices);
  expect(idsOf(rounds.nextRound())).toEqual([]);
  const [first, second] = [newDevice(), newDevice()];
  devices.set(first, device(true));
  expect(idsOf(rounds.nextRound())).toEqual([first]);
  devices.set(second, device(true));
  expect(idsOf(rounds.nextRound()).toSorted()).toEqual([first, second].toSorted());
});
