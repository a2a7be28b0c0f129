// Numbers of devices by their state under assignments, added up while the fleet is examined a part at a time.

import { deviceStates, type Evaluation } from './evaluation.ts';

/** Modes in which an assignment decides for devices. */
const decidingModes = ['report', 'enforce'] as const;

export type DevicesInState = {
  readonly mode: (typeof decidingModes)[number];
  readonly state: (typeof deviceStates)[number];
  readonly devices: number;
};

export class StateCounts {
  /** The counts of the last complete examination of the fleet; null before the first. */
  last: readonly DevicesInState[] | null = null;
  #current = new Map<string, number>();

  /** Adds devices that are examined for the first time since the last `endSweep`. A device counts once per mode, with its worst state. */
  add(evaluations: readonly Evaluation[]): void {
    const worst = new Map<string, { readonly mode: string; readonly state: string }>();
    for (const { device, assignment, state } of evaluations) {
      const { mode } = assignment.row;
      const key = `${device.id} ${mode}`;
      const before = worst.get(key)?.state ?? '';
      if (ranks.indexOf(state.state) >= ranks.indexOf(before)) worst.set(key, { mode, state: state.state });
    }
    for (const { mode, state } of worst.values()) {
      const key = `${mode} ${state}`;
      this.#current.set(key, (this.#current.get(key) ?? 0) + 1);
    }
  }

  /** Ends an examination of the whole fleet. */
  endSweep(): void {
    this.last = decidingModes.flatMap((mode) =>
      deviceStates.map((state) => ({ mode, state, devices: this.#current.get(`${mode} ${state}`) ?? 0 })),
    );
    this.#current = new Map();
  }
}

/** The states from the best to the worst. */
const ranks: readonly string[] = deviceStates;
