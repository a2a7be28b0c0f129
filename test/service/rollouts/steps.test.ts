// The next step of a rollout: examples, and a model-based test with random events.

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

function status(changes: Partial<RolloutStatus> = {}): RolloutStatus {
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
  ['waits for its start time', status({ state: 'pending', startAt: at(101) }), { kind: 'wait', for: 'start-time' }],
  [
    'waits for earlier rollouts with the same devices',
    status({ state: 'pending', startAt: at(99), isBlocked: true }),
    { kind: 'wait', for: 'earlier-rollouts' },
  ],
  ['starts', status({ state: 'pending', startAt: at(100) }), { kind: 'start' }],
  ['asks for the approval of a wave', status({ wave: wave({ state: 'waiting', needsApproval: true }) }), { kind: 'ask-approval', wave: 1 }],
  [
    'does not ask for the approval of an empty wave',
    status({ wave: wave({ state: 'waiting', needsApproval: true, results: { ...failed, devices: 0 } }) }),
    { kind: 'begin-wave', wave: 1 },
  ],
  [
    'waits for approval',
    status({ state: 'awaiting-approval', wave: wave({ state: 'awaiting-approval' }) }),
    { kind: 'wait', for: 'approval' },
  ],
  ['begins no wave outside the window', status({ isWindowOpen: false, wave: wave({ state: 'waiting' }) }), { kind: 'wait', for: 'window' }],
  ['requests no load outside the window', status({ isWindowOpen: false, wave: wave({ waiting: 3 }) }), { kind: 'wait', for: 'window' }],
  ['requests loads up to the devices in flight', status({ wave: wave({ waiting: 3 }) }), { kind: 'request-loads', wave: 1, count: 2 }],
  ['requests no more loads than devices wait', status({ wave: wave({ waiting: 1 }) }), { kind: 'request-loads', wave: 1, count: 1 }],
  [
    'requests no more loads than the rate allows',
    status({ allowance: 1, wave: wave({ waiting: 3 }) }),
    { kind: 'request-loads', wave: 1, count: 1 },
  ],
  ['waits for the rate', status({ allowance: 0, wave: wave({ waiting: 3 }) }), { kind: 'wait', for: 'rate' }],
  [
    'waits for loads at the limit of devices in flight',
    status({ inFlight: 2, wave: wave({ waiting: 3, loading: 2 }) }),
    { kind: 'wait', for: 'loads' },
  ],
  ['waits for loads in progress', status({ inFlight: 1, wave: wave({ loading: 1 }) }), { kind: 'wait', for: 'loads' }],
  ['soaks after the last load', status(), { kind: 'begin-soak', wave: 1 }],
  ['waits for devices that may still join', status({ wave: wave({ acceptsDevices: true }) }), { kind: 'wait', for: 'devices' }],
  [
    'waits until the soak time ends',
    status({ wave: wave({ state: 'soaking', soakUntil: at(101), measuredAt: at(99) }) }),
    { kind: 'wait', for: 'soak' },
  ],
  [
    'waits for a measurement after the soak time',
    status({ wave: wave({ state: 'soaking', soakUntil: at(100), measuredAt: at(99) }) }),
    { kind: 'wait', for: 'measurement' },
  ],
  [
    'ignores a measurement from the future, made while the clock was ahead',
    status({ wave: wave({ state: 'soaking', soakUntil: at(99), measuredAt: at(101) }) }),
    { kind: 'wait', for: 'measurement' },
  ],
  [
    'restarts a soak that was begun while the clock was ahead',
    status({ wave: wave({ state: 'soaking', soakUntil: at(162), soakSeconds: 60, measuredAt: at(162) }) }),
    { kind: 'begin-soak', wave: 1 },
  ],
  [
    'continues a soak that has just begun',
    status({ wave: wave({ state: 'soaking', soakUntil: at(160), soakSeconds: 60 }) }),
    { kind: 'wait', for: 'soak' },
  ],
  [
    'passes a wave after its soak time',
    status({ wave: wave({ state: 'soaking', soakUntil: at(99), measuredAt: at(99) }) }),
    { kind: 'pass-wave', wave: 1 },
  ],
  [
    'fails a wave without the required calls',
    status({
      wave: wave({ state: 'soaking', soakUntil: at(99), measuredAt: at(99), thresholds: { ...defaultThresholds, requireCalls: true } }),
    }),
    { kind: 'fail-wave', wave: 1, failure: '0 calls since the load; required: 20' },
  ],
  [
    'fails a wave while it is loading',
    status({ wave: wave({ waiting: 1, results: failed }) }),
    { kind: 'fail-wave', wave: 1, failure: '1 of 4 loads failed; limit: 0%' },
  ],
  [
    'does not fail a wave whose failure is ignored',
    status({ wave: wave({ waiting: 1, isFailureIgnored: true, results: failed }) }),
    { kind: 'request-loads', wave: 1, count: 1 },
  ],
  [
    'waits for an operator while paused',
    status({ state: 'paused', wave: wave({ waiting: 1, results: failed }) }),
    { kind: 'wait', for: 'operator' },
  ],
  ['completes when all waves have passed', status({ wave: null }), { kind: 'complete' }],
  ['has no step after its end', status({ state: 'completed', wave: null }), { kind: 'none' }],
])('%s', (_, current, step) => {
  expect(nextStep(current, at(100))).toEqual(step);
});

type Scenario = {
  readonly waves: readonly { readonly size: number; readonly approval: boolean; readonly soak: number }[];
  readonly inFlight: number;
};
/** Events between two checks: loads end, an operator approves, pauses or resumes, the window opens or closes. */
type Events = {
  readonly ends: number;
  readonly fail: boolean;
  readonly approves: boolean;
  readonly pauses: boolean;
  readonly isOpen: boolean;
  readonly seconds: number;
};

const scenarios = fc.record({
  waves: fc.array(fc.record({ size: fc.nat(12), approval: fc.boolean(), soak: fc.nat(5) }), { minLength: 1, maxLength: 4 }),
  inFlight: fc.integer({ min: 1, max: 5 }),
});
const eventSequences = fc.array(
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

/** Models a rollout with `onFailure: pause`. */
class RolloutModel {
  state: RolloutState = 'pending';
  now = 0;
  isOpen = true;
  readonly #scenario: Scenario;
  readonly waves;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.waves = scenario.waves.map(
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

  status(): RolloutStatus {
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
      devicesInFlight: this.#scenario.inFlight,
      inFlight: this.inFlight,
      allowance: 100,
    };
  }

  /** Applies every step that is possible now. */
  advance(): void {
    for (let steps = 0; ; steps++) {
      expect(steps).toBeLessThan(100);
      const step = nextStep(this.status(), at(this.now));
      if (step.kind === 'wait' || step.kind === 'none') return;
      if ('wave' in step) this.#apply(step);
      else this.state = step.kind === 'start' ? 'running' : 'completed';
    }
  }

  #apply(step: Extract<ReturnType<typeof nextStep>, { wave: number }>): void {
    const current = this.waves[step.wave - 1];
    if (current === undefined) throw new Error(`wave ${step.wave} does not exist`);
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
        expect(this.inFlight).toBeLessThanOrEqual(this.#scenario.inFlight);
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

  process({ ends, fail, approves, pauses, isOpen, seconds }: Events): void {
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

test('runs waves in order and within their limits under random events, and completes when all loads end', () => {
  fc.assert(
    fc.property(scenarios, eventSequences, (scenario, sequence) => {
      const model = new RolloutModel(scenario);
      for (const events of sequence) {
        model.advance();
        model.process(events);
      }
      // From here on loads succeed, and an operator approves and resumes.
      for (let rounds = 0; model.state !== 'completed'; rounds++) {
        expect(rounds).toBeLessThan(1_000);
        model.advance();
        model.process({ ends: 5, fail: false, approves: true, pauses: model.state === 'paused', isOpen: true, seconds: 1 });
      }
      for (const { waiting, loading, loaded, failures, number } of model.waves) {
        expect([waiting, loading]).toEqual([0, 0]);
        expect(loaded + failures).toBe(scenario.waves[number - 1]?.size);
      }
    }),
  );
});
