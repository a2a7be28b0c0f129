// What a rollout does next: examples, and a model of rollouts that are carried out in random worlds.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { noMeasurement } from '../../../src/service/rollouts/measurement.ts';
import { defaultThresholds } from '../../../src/service/rollouts/plan.ts';
import { nextStep, type RolloutState, type RolloutStatus, type WaveStatus } from '../../../src/service/rollouts/steps.ts';

const at = (second: number) => new Date(second * 1_000);

function wave(changes: Partial<WaveStatus> = {}): WaveStatus {
  return {
    number: 1,
    state: 'loading',
    needsApproval: false,
    isFailureIgnored: false,
    soakUntil: null,
    soakSeconds: 60,
    measuredAt: null,
    thresholds: defaultThresholds,
    waiting: 0,
    loading: 0,
    acceptsDevices: false,
    results: { devices: 4, loaded: 0, failedLoads: 0, interruptedAccesses: 0, measured: noMeasurement },
    ...changes,
  };
}

function standing(changes: Partial<RolloutStatus> = {}): RolloutStatus {
  return {
    state: 'running',
    wave: wave(),
    startAt: null,
    isBlocked: false,
    isWindowOpen: true,
    devicesInFlight: 2,
    inFlight: 0,
    allowance: 100,
    ...changes,
  };
}

const failed = { devices: 4, loaded: 3, failedLoads: 1, interruptedAccesses: 0, measured: noMeasurement };

test.each<[string, RolloutStatus, object]>([
  ['one that is to start later waits', standing({ state: 'pending', startAt: at(101) }), { kind: 'wait', for: 'start-time' }],
  [
    'one whose devices another has waits',
    standing({ state: 'pending', startAt: at(99), isBlocked: true }),
    { kind: 'wait', for: 'earlier-rollouts' },
  ],
  ['otherwise it starts', standing({ state: 'pending', startAt: at(100) }), { kind: 'start' }],
  [
    'a wave that needs approval asks for it',
    standing({ wave: wave({ state: 'waiting', needsApproval: true }) }),
    { kind: 'ask-approval', wave: 1 },
  ],
  [
    'but for one without devices',
    standing({ wave: wave({ state: 'waiting', needsApproval: true, results: { ...failed, devices: 0 } }) }),
    { kind: 'begin-wave', wave: 1 },
  ],
  [
    'and waits for it',
    standing({ state: 'awaiting-approval', wave: wave({ state: 'awaiting-approval' }) }),
    { kind: 'wait', for: 'approval' },
  ],
  [
    'no wave begins outside of the window',
    standing({ isWindowOpen: false, wave: wave({ state: 'waiting' }) }),
    { kind: 'wait', for: 'window' },
  ],
  [
    'no load is requested outside of the window',
    standing({ isWindowOpen: false, wave: wave({ waiting: 3 }) }),
    { kind: 'wait', for: 'window' },
  ],
  ['as many loads as may be under way', standing({ wave: wave({ waiting: 3 }) }), { kind: 'request-loads', wave: 1, count: 2 }],
  ['no more than wait', standing({ wave: wave({ waiting: 1 }) }), { kind: 'request-loads', wave: 1, count: 1 }],
  ['no more than the rate has', standing({ allowance: 1, wave: wave({ waiting: 3 }) }), { kind: 'request-loads', wave: 1, count: 1 }],
  ['none where the rate has none', standing({ allowance: 0, wave: wave({ waiting: 3 }) }), { kind: 'wait', for: 'rate' }],
  [
    'none where as many are under way as may be',
    standing({ inFlight: 2, wave: wave({ waiting: 3, loading: 2 }) }),
    { kind: 'wait', for: 'loads' },
  ],
  ['loads that are under way are waited for', standing({ inFlight: 1, wave: wave({ loading: 1 }) }), { kind: 'wait', for: 'loads' }],
  ['then the wave is watched', standing(), { kind: 'begin-soak', wave: 1 }],
  ['but for one that devices still join', standing({ wave: wave({ acceptsDevices: true }) }), { kind: 'wait', for: 'devices' }],
  [
    'until its time is over',
    standing({ wave: wave({ state: 'soaking', soakUntil: at(101), measuredAt: at(99) }) }),
    { kind: 'wait', for: 'soak' },
  ],
  [
    'and it was measured after that',
    standing({ wave: wave({ state: 'soaking', soakUntil: at(100), measuredAt: at(99) }) }),
    { kind: 'wait', for: 'measurement' },
  ],
  [
    'a measurement of the future, from when the clock was ahead, is none',
    standing({ wave: wave({ state: 'soaking', soakUntil: at(99), measuredAt: at(101) }) }),
    { kind: 'wait', for: 'measurement' },
  ],
  [
    'a time to soak that ends later than any can began when the clock was ahead, and begins again',
    standing({ wave: wave({ state: 'soaking', soakUntil: at(162), soakSeconds: 60, measuredAt: at(162) }) }),
    { kind: 'begin-soak', wave: 1 },
  ],
  [
    'one that has all of its time before it goes on',
    standing({ wave: wave({ state: 'soaking', soakUntil: at(160), soakSeconds: 60 }) }),
    { kind: 'wait', for: 'soak' },
  ],
  ['then it passes', standing({ wave: wave({ state: 'soaking', soakUntil: at(99), measuredAt: at(99) }) }), { kind: 'pass-wave', wave: 1 }],
  [
    'where calls are required there are to be some',
    standing({
      wave: wave({ state: 'soaking', soakUntil: at(99), measuredAt: at(99), thresholds: { ...defaultThresholds, requireCalls: true } }),
    }),
    { kind: 'fail-wave', wave: 1, failure: 'programs have made 0 calls since their devices got the build, and 20 are required' },
  ],
  [
    'a wave fails while it is loading',
    standing({ wave: wave({ waiting: 1, results: failed }) }),
    { kind: 'fail-wave', wave: 1, failure: '1 of 4 loads have not succeeded, and 0 % may' },
  ],
  [
    'a wave that is accepted does not',
    standing({ wave: wave({ waiting: 1, isFailureIgnored: true, results: failed }) }),
    { kind: 'request-loads', wave: 1, count: 1 },
  ],
  ['what is paused waits', standing({ state: 'paused', wave: wave({ waiting: 1, results: failed }) }), { kind: 'wait', for: 'operator' }],
  ['when all have passed it is complete', standing({ wave: null }), { kind: 'complete' }],
  ['and then nothing is to be done', standing({ state: 'completed', wave: null }), { kind: 'none' }],
])('%s', (_, given, step) => {
  expect(nextStep(given, at(100))).toEqual(step);
});

type World = {
  readonly waves: readonly { readonly size: number; readonly approval: boolean; readonly soak: number }[];
  readonly inFlight: number;
};
/** What happens between two looks: loads end well or not, an operator approves or pauses and resumes, the window opens and closes. */
type Happening = {
  readonly ends: number;
  readonly fail: boolean;
  readonly approves: boolean;
  readonly pauses: boolean;
  readonly isOpen: boolean;
  readonly seconds: number;
};

const worlds = fc.record({
  waves: fc.array(fc.record({ size: fc.nat(12), approval: fc.boolean(), soak: fc.nat(5) }), { minLength: 1, maxLength: 4 }),
  inFlight: fc.integer({ min: 1, max: 5 }),
});
const happenings = fc.array(
  fc.record({
    ends: fc.nat(4),
    fail: fc.boolean(),
    approves: fc.boolean(),
    pauses: fc.boolean(),
    isOpen: fc.boolean(),
    seconds: fc.nat(3),
  }),
  { maxLength: 80 },
);

/** A rollout as the steps leave it; failures are taken as the policy `pause` does. */
class RolloutModel {
  state: RolloutState = 'pending';
  now = 0;
  isOpen = true;
  readonly #world: World;
  readonly waves;

  constructor(world: World) {
    this.#world = world;
    this.waves = world.waves.map(
      (
        { size, approval, soak },
        index,
      ): { -readonly [Key in keyof WaveStatus]: WaveStatus[Key] } & { loaded: number; failures: number; soakSeconds: number } => ({
        ...wave({ number: index + 1, state: 'waiting', needsApproval: approval, waiting: size }),
        soakSeconds: soak,
        loaded: 0,
        failures: 0,
      }),
    );
  }

  get inFlight(): number {
    return this.waves.reduce((sum, { loading }) => sum + loading, 0);
  }

  standing(): RolloutStatus {
    const current = this.waves.find(({ state }) => state !== 'passed');
    const results = current && {
      devices: current.waiting + current.loading + current.loaded + current.failures,
      loaded: current.loaded,
      failedLoads: current.failures,
      interruptedAccesses: 0,
      measured: noMeasurement,
    };
    return {
      state: this.state,
      wave: current === undefined || results === undefined ? null : { ...current, results, measuredAt: at(this.now) },
      startAt: null,
      isBlocked: false,
      isWindowOpen: this.isOpen,
      devicesInFlight: this.#world.inFlight,
      inFlight: this.inFlight,
      allowance: 100,
    };
  }

  /** Takes every step that is due. */
  advance(): void {
    for (let steps = 0; ; steps++) {
      expect(steps).toBeLessThan(100);
      const step = nextStep(this.standing(), at(this.now));
      if (step.kind === 'wait' || step.kind === 'none') return;
      if ('wave' in step) this.#take(step);
      else this.state = step.kind === 'start' ? 'running' : 'completed';
    }
  }

  #take(step: Extract<ReturnType<typeof nextStep>, { wave: number }>): void {
    const current = this.waves[step.wave - 1];
    if (current === undefined) throw new Error('there is no such wave');
    expect(this.waves.slice(0, step.wave - 1).every(({ state }) => state === 'passed')).toBe(true);
    expect(this.state).toBe('running');
    switch (step.kind) {
      case 'ask-approval':
        current.state = 'awaiting-approval';
        this.state = 'awaiting-approval';
        return;
      case 'begin-wave':
        expect(this.isOpen).toBe(true);
        expect(current.needsApproval && this.#sizeOf(current) > 0).toBe(false);
        current.state = 'loading';
        return;
      case 'request-loads':
        expect(this.isOpen).toBe(true);
        expect(step.count).toBeGreaterThan(0);
        current.waiting -= step.count;
        current.loading += step.count;
        expect(current.waiting).toBeGreaterThanOrEqual(0);
        expect(this.inFlight).toBeLessThanOrEqual(this.#world.inFlight);
        return;
      case 'begin-soak':
        current.state = 'soaking';
        current.soakUntil = at(this.now + current.soakSeconds);
        return;
      case 'pass-wave':
        expect(current.failures === 0 || current.isFailureIgnored).toBe(true);
        expect(current.waiting + current.loading).toBe(0);
        current.state = 'passed';
        return;
      case 'fail-wave':
        expect(current.failures).toBeGreaterThan(0);
        current.state = 'failed';
        this.state = 'paused';
    }
  }

  #sizeOf({ waiting, loading, loaded, failures }: (typeof this.waves)[number]): number {
    return waiting + loading + loaded + failures;
  }

  happen({ ends, fail, approves, pauses, isOpen, seconds }: Happening): void {
    this.now += seconds;
    this.isOpen = isOpen;
    const current = this.waves.find(({ state }) => state !== 'passed');
    if (current === undefined) return;
    const ended = Math.min(ends, current.loading);
    current.loading -= ended;
    if (fail) current.failures += ended;
    else current.loaded += ended;
    if (approves && current.state === 'awaiting-approval' && this.state === 'awaiting-approval') {
      current.state = 'waiting';
      current.needsApproval = false;
      this.state = 'running';
    }
    if (pauses && this.state === 'running') this.state = 'paused';
    else if (pauses && this.state === 'paused') this.resume();
  }

  resume(): void {
    const current = this.waves.find(({ state }) => state !== 'passed');
    if (current?.state === 'failed') {
      current.state = 'loading';
      current.isFailureIgnored = true;
    }
    this.state = current?.state === 'awaiting-approval' ? 'awaiting-approval' : 'running';
  }
}

test('whatever happens, waves come in order and within their limits, and a rollout whose loads all end comes to its end', () => {
  fc.assert(
    fc.property(worlds, happenings, (world, whatHappens) => {
      const model = new RolloutModel(world);
      for (const happening of whatHappens) {
        model.advance();
        model.happen(happening);
      }
      // From now on all goes well, and an operator says yes to everything.
      for (let rounds = 0; model.state !== 'completed'; rounds++) {
        expect(rounds).toBeLessThan(1_000);
        model.advance();
        model.happen({ ends: 5, fail: false, approves: true, pauses: model.state === 'paused', isOpen: true, seconds: 1 });
      }
      for (const { waiting, loading, loaded, failures, number } of model.waves) {
        expect([waiting, loading]).toEqual([0, 0]);
        expect(loaded + failures).toBe(world.waves[number - 1]?.size);
      }
    }),
  );
});
