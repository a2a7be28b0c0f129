// The operations of a load: start, duration and details of each.

import { Module } from '../../components/module.tsx';
import { microsecondsText } from '../../components/times.tsx';
import { stepFacts, stepTitle } from './step-details.ts';
import { type Step, stepId } from './workflow.ts';
import './steps.css';

export function Steps({ steps, microseconds }: { readonly steps: readonly Step[]; readonly microseconds: number }) {
  const whole = Math.max(microseconds, 1);
  return (
    <ol class="steps">
      {steps.map((step) => (
        <li key={stepId(step)} id={stepId(step)} tabIndex={-1}>
          <h3>
            <span class="code">{step.operation ?? '—'}</span> {stepTitle(step)}{' '}
            {step.module !== undefined && <Module module={step.module} />}
          </h3>
          <span class="step-time code">{microsecondsText(step.microseconds)}</span>
          <div class="step-bar" aria-hidden="true">
            <span style={{ left: `${share(step.startedMicroseconds, whole)}%`, width: `${share(step.microseconds, whole)}%` }} />
          </div>
          <dl class="facts">
            {stepFacts(step).map(({ term, text, isCode = false }) => (
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
