// Signing in to the dashboard with a real OpenID Connect provider, in a real browser.

import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { TestProvider } from '../service/sign-in/test-provider.ts';
import { itemsOf } from '../service/test-service.ts';
import { Dashboard, lookForBarriers, shown } from './dashboard.ts';

let dashboard: Dashboard;
let provider: TestProvider;
beforeAll(async () => {
  dashboard = await Dashboard.start();
  const { service } = dashboard;
  provider = await TestProvider.start(`${service.url}/sign-in/callback`);
  provider.people.set('grace', { name: 'Grace Hopper', groups: ['on-call'] });
  provider.people.set('mallory', { name: 'Mallory', groups: [] });
  await service.stop();
  service.provider = provider.settings();
  await service.start();
});
afterEach(() => dashboard.closePages());
afterAll(async () => {
  await provider?.close();
  await dashboard?.stop();
});

const heading = (page: Page, name: string) => page.getByRole('heading', { level: 1, name });
const signInLink = (page: Page) => page.getByRole('link', { name: 'Sign in with Example SSO' });
/** Ends every session of a person, as an administrator does and as time does. */
async function endSessions(subject: string): Promise<void> {
  const person = itemsOf(await dashboard.service.get('/v1/users')).find((user) => user.subject === subject);
  const ended = await dashboard.service.post(`/v1/users/${person?.id}/sign-out`, undefined);
  expect(ended.body).toEqual({ sessions: 1 });
}

test('a person signs in, sees the name, and signs out', async () => {
  const page = await dashboard.open('/loads', { role: null });
  await heading(page, 'Sign in to Patchbay').waitFor();
  await signInLink(page).waitFor();
  await lookForBarriers(page, 'sign-in with a provider');
  provider.next = 'grace';
  await signInLink(page).click();
  await heading(page, 'Loads').waitFor();
  expect(new URL(page.url()).pathname).toBe('/loads');
  await page.getByText('Grace Hopper, operator').waitFor();
  await page.reload();
  await page.getByText('Grace Hopper, operator').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await heading(page, 'Sign in to Patchbay').waitFor();
  await page.reload();
  await signInLink(page).waitFor();
  expect(await page.getByRole('navigation', { name: 'Pages' }).count()).toBe(0);
  // The cookie is not merely forgotten: the session has ended.
  expect(itemsOf(await dashboard.service.get('/v1/audit?action=user.signed-out'))).toHaveLength(1);
});

test('when the session has expired, the page says so, and signing in returns to the page', async () => {
  provider.next = 'grace';
  const page = await dashboard.open('/loads?outcome=failed', { role: null });
  await signInLink(page).click();
  await page.getByText('Grace Hopper, operator').waitFor();
  await page.getByRole('link', { name: 'Rollouts' }).click();
  await heading(page, 'Rollouts').waitFor();
  await endSessions('grace');
  // Without an action of the person: the stream of events ends with the session.
  await page.getByText('The session has ended. Sign in again.').waitFor();
  await lookForBarriers(page, 'an expired session');
  await signInLink(page).click();
  await heading(page, 'Rollouts').waitFor();
  expect(new URL(page.url()).pathname).toBe('/rollouts');
  await page.getByText('Grace Hopper, operator').waitFor();

  await page.goto('/loads?outcome=failed');
  await heading(page, 'Loads').waitFor();
  await endSessions('grace');
  await page.getByText('The session has ended. Sign in again.').waitFor();
  await signInLink(page).click();
  await heading(page, 'Loads').waitFor();
  expect(page.url()).toBe(`${dashboard.service.url}/loads?outcome=failed`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await signInLink(page).waitFor();
});

test('someone without a role, or who declines, learns why, and an API key still works', async () => {
  const page = await dashboard.open('/builds', { role: null });
  for (const [person, message] of [
    ['mallory', 'no rule gives you a role here'],
    [null, 'The identity provider did not sign you in.'],
  ] as const) {
    provider.next = person;
    // The provider remembers who signed in.
    await page.context().clearCookies();
    await page.goto('/builds');
    await signInLink(page).click();
    await page.getByRole('alert').filter({ hasText: message }).waitFor();
  }
  await dashboard.signIn(page, dashboard.keyOf('viewer'));
  await shown(page.getByText('test-viewer, viewer'));
});

test('no page caused errors or contacted another host', () => {
  const { addresses, wrongs } = dashboard.watched;
  expect(wrongs).toEqual([]);
  expect(addresses.filter((address) => new URL(address).hostname !== '127.0.0.1')).toEqual([]);
});
