// The service clock on machine clocks that jump, drift and run backwards.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clockSettings, ServiceClock } from '../../../src/service/clock/service-clock.ts';

const { tolerance, stepAfter, slewRate } = clockSettings;
const year = 365 * 24 * 3_600_000;
const begin = Date.UTC(2026, 10, 28);

/** A machine with controllable clocks. */
class MachineClocks {
  monotonic = 5_000;
  ahead = 0;
  readonly clock = new ServiceClock(() => this.monotonic, begin);

  get wall(): number {
    return begin + this.monotonic - 5_000 + this.ahead;
  }

  /** Lets seconds pass, and reads the machine clock after each. */
  pass(seconds: number): void {
    for (let second = 0; second < seconds; second += 1) {
      this.monotonic += 1_000;
      this.clock.observe(this.wall);
    }
  }
}

const jumps = fc.constantFrom(0, 900, -900, 3_600_000, -3_600_000, 10 * year, -40 * year);

test('for any machine clock, the service clock runs at real speed within the slew rate', () => {
  const episode = fc.record({
    jump: jumps,
    seconds: fc.integer({ min: 1, max: stepAfter / 1_000 - 2 }),
    drift: fc.integer({ min: -5_000, max: 5_000 }),
  });
  fc.assert(
    fc.property(fc.array(episode, { maxLength: 12 }), (episodes) => {
      const machine = new MachineClocks();
      for (const { jump, seconds, drift } of episodes) {
        for (let second = 0; second < seconds; second += 1) {
          const before = machine.clock.now().getTime();
          machine.ahead = jump + drift * second;
          machine.pass(1);
          const passed = machine.clock.now().getTime() - before;
          expect(Math.abs(passed - 1_000)).toBeLessThanOrEqual(1_000 * slewRate + 1);
        }
        machine.ahead = 0;
        machine.pass(1);
      }
      // Once the machine clock is correct, so is the service: at most after a jump back over the drift that it followed.
      machine.pass((2 * stepAfter) / 1_000);
      expect(Math.abs(machine.clock.now().getTime() - machine.wall)).toBeLessThanOrEqual(tolerance);
    }),
  );
});

test('a lasting jump in either direction is followed, and reported until then', () => {
  for (const ahead of [3_600_000, -3_600_000, 10 * year]) {
    const machine = new MachineClocks();
    machine.ahead = ahead;
    machine.pass(stepAfter / 1_000 - 1);
    expect(machine.clock.jump).toBe(ahead);
    expect(machine.clock.now().getTime()).toBe(machine.wall - ahead);
    machine.pass(3);
    expect(machine.clock.jump).toBeNull();
    expect(machine.clock.now().getTime()).toBe(machine.wall);
  }
});

test('a small correction of the clock is followed slowly, without running backwards', () => {
  const machine = new MachineClocks();
  machine.ahead = -900;
  const before = machine.clock.now().getTime();
  machine.pass(10);
  expect(machine.clock.now().getTime()).toBeGreaterThan(before + 9_800);
  machine.pass(120);
  expect(machine.clock.now().getTime()).toBe(machine.wall);
});

test('a jump after machine sleep is followed once it has lasted', () => {
  const machine = new MachineClocks();
  // The monotonic clock stops during sleep.
  machine.ahead = 8 * 3_600_000;
  machine.pass(60);
  expect(machine.clock.now().getTime()).toBe(machine.wall - machine.ahead);
  machine.pass(stepAfter / 1_000);
  expect(machine.clock.now().getTime()).toBe(machine.wall);
});
