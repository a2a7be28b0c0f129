// Distinguishes every kind of step, order and report exhaustively. Compiled with the types of each generator.

import type { Order, Report, Step } from './types.js';

/** Returns the finding of a step, from the facts of its kind. */
export function describeStep(step: Step): string {
  switch (step.step) {
    case 'received':
      return `received ${step.facts.bytes > 0}`;
    case 'looked-up':
      return `looked-up ${step.facts.version}`;
    case 'compared':
      return `compared ${step.facts.precedence}`;
    case 'linked':
      return `linked ${step.facts.unresolved.map((link) => link.problem).join()}`;
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
    case 'cancelled':
      return `cancelled ${step.facts.reason}`;
    case 'completed':
      return `completed ${step.facts.outcome}`;
    default:
      return step satisfies never;
  }
}

/** Returns what an agent does for an order. */
export function describeOrder(order: Order): string {
  switch (order.kind) {
    case 'attach-device':
      return `attach ${order.name} with ${order.modules.length} modules`;
    case 'detach-device':
      return `detach ${order.device}`;
    case 'load':
      return `load ${order.module} ${order.version} by ${order.strategy}`;
    case 'load-patch-set':
      return `load ${order.members.map((member) => (member.action === 'load' ? member.version : `no ${member.module}`)).join(', ')}`;
    case 'unload-module':
      return `unload ${order.module} by ${order.strategy}`;
    case 'inject-load':
      return `inject ${order.load}`;
    case 'cancel-load':
      return `cancel ${order.load}`;
    case 'start-program':
      return `start ${order.threads} threads of ${order.export}`;
    case 'stop-program':
      return `stop ${order.program}`;
    default:
      return order satisfies never;
  }
}

/** Returns why the order of a report failed; null if it succeeded, or if the report has no order. */
export function describeFailure(report: Report): string | null {
  switch (report.kind) {
    case 'load-completed':
      return report.result.reason;
    case 'device-attached':
    case 'device-detached':
    case 'load-injected':
    case 'load-cancelled':
    case 'program-started':
    case 'program-stopped':
      return report.failure;
    case 'device-state':
      return null;
    default:
      return report satisfies never;
  }
}
