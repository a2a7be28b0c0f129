// The operations of a load, one below the other: when each began, how long it took, and what it found out.

import { microsecondsText } from '../../parts/times.tsx';
import { deedOf, factsOf } from './facts.ts';
import type { Step } from './workflow.ts';
import './steps.css';

export function Steps({ steps, microseconds }: { readonly steps: readonly Step[]; readonly microseconds: number }) {
  const whole = Math.max(microseconds, 1);
  return (
    <ol class="steps">
      {steps.map((step) => (
        <li key={step.step} id={`step-${step.step}`} tabIndex={-1}>
          <h3>
            <span class="code">{step.operation ?? '—'}</span> {deedOf(step)}
          </h3>
          <span class="step-time code">{microsecondsText(step.microseconds)}</span>
          <div class="step-bar" aria-hidden="true">
            <span style={{ left: `${share(step.startedMicroseconds, whole)}%`, width: `${share(step.microseconds, whole)}%` }} />
          </div>
          <dl class="facts">
            {factsOf(step).map(({ term, text, isCode = false }) => (
              <div key={term}>
                <dt>{term}</dt>
                <dd>{isCode ? <code>{text}</code> : text}</dd>
              </div>
            ))}
          </dl>
        </li>
      ))}
    </ol>
  );
}

const share = (part: number, whole: number) => Math.min(100, (100 * part) / whole);
