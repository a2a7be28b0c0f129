// Each kind of step, order and report told from the others, with nothing left over. It is checked with the types of each generator.

import type { Order, Report, Step } from './types.js';

/** What a step found out, each kind by its own facts. */
export function factOf(step: Step): string {
  switch (step.step) {
    case 'received':
      return `received ${step.facts.bytes > 0}`;
    case 'looked-up':
      return `looked-up ${step.facts.version}`;
    case 'compared':
      return `compared ${step.facts.precedence}`;
    case 'refused':
      return `refused ${step.facts.reason}`;
    case 'loaded':
      return `loaded ${step.facts.selfCheck}`;
    case 'table-updated':
      return `table-updated ${step.facts.to !== step.facts.from}`;
    case 'checked-references':
      return `checked-references ${step.facts.referenceCount}`;
    case 'interrupted':
      return `interrupted ${step.facts.programs.length}`;
    case 'references-reset':
      return `references-reset ${step.facts.retried}`;
    case 'invalidated':
      return `invalidated ${step.facts.invalidation}`;
    case 'failed':
      return `failed ${step.facts.during}`;
    case 'completed':
      return `completed ${step.facts.outcome}`;
    default:
      return step satisfies never;
  }
}

/** What an agent does about an order, and what it reports. */
export function taskOf(order: Order): string {
  switch (order.kind) {
    case 'attach-device':
      return `attach ${order.name} with ${order.modules.length} modules`;
    case 'load':
      return `load ${order.module} ${order.version} by ${order.strategy}`;
    case 'start-program':
      return `start ${order.threads} threads of ${order.export}`;
    case 'stop-program':
      return `stop ${order.program}`;
    default:
      return order satisfies never;
  }
}

/** Why the order of a report could not be carried out; null where it was, or where there was none. */
export function failureOf(report: Report): string | null {
  switch (report.kind) {
    case 'load-completed':
      return report.result.reason;
    case 'device-attached':
    case 'program-started':
    case 'program-stopped':
      return report.failure;
    case 'device-state':
      return null;
    default:
      return report satisfies never;
  }
}
