// Reads the settings of the identity provider.

import {
  formatLabelSelector,
  type LabelSelector,
  LabelSelectorError,
  parseLabelSelector,
  parseScope,
  uniteSelectors,
} from '../../protocol/label-selector.ts';
import type { ProviderSettings } from '../../service/sign-in/identity-provider.ts';
import { personRoles, type RoleRule } from '../../service/sign-in/role-rules.ts';
import { type ScopeRule, type ScopeRules, unmatchedScopes } from '../../service/sign-in/scope-rules.ts';
import { UsageError } from '../errors.ts';
import { readInputFile, readInteger } from '../option-values.ts';

/** The options and environment variables of the provider. */
export const providerVariables = {
  oidcIssuer: 'PATCHBAY_OIDC_ISSUER',
  oidcClientId: 'PATCHBAY_OIDC_CLIENT_ID',
  oidcClientSecretFile: 'PATCHBAY_OIDC_CLIENT_SECRET_FILE',
  oidcRoles: 'PATCHBAY_OIDC_ROLES',
  oidcRoleClaim: 'PATCHBAY_OIDC_ROLE_CLAIM',
  oidcDeviceScopes: 'PATCHBAY_OIDC_DEVICE_SCOPES',
  oidcDeviceScopeClaim: 'PATCHBAY_OIDC_DEVICE_SCOPE_CLAIM',
  oidcUnmatchedDeviceScope: 'PATCHBAY_OIDC_UNMATCHED_DEVICE_SCOPE',
  oidcScopes: 'PATCHBAY_OIDC_SCOPES',
  oidcAudience: 'PATCHBAY_OIDC_AUDIENCE',
  oidcName: 'PATCHBAY_OIDC_NAME',
  sessionHours: 'PATCHBAY_SESSION_HOURS',
} as const;
type ProviderOption = keyof typeof providerVariables;

/** Maximum rules that map claims to roles, and maximum rules that map claims to scopes. */
const ruleLimit = 100;
const loopback = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** @returns null without an issuer. @throws {UsageError} */
export function readProvider(
  setting: (option: ProviderOption, defaultValue?: string) => string,
  { publicUrl, clientSecret }: { readonly publicUrl: URL | null; readonly clientSecret: string | undefined },
): ProviderSettings | null {
  const issuerText = setting('oidcIssuer');
  if (issuerText === '') {
    const given = (['oidcClientId', 'oidcRoles', 'oidcDeviceScopes', 'oidcAudience'] as const).find((option) => setting(option) !== '');
    if (given !== undefined) throw new UsageError(`${flagOf(given)} requires --oidc-issuer, the URL of the identity provider`);
    return null;
  }
  const issuer = readUrl('--oidc-issuer', issuerText);
  if (issuer.protocol !== 'https:' && !loopback.has(issuer.hostname))
    throw new UsageError(
      `--oidc-issuer: expected an https URL, received "${issuerText}": over http, others on the network could sign in as anyone`,
    );
  const clientId = setting('oidcClientId');
  if (clientId === '')
    throw new UsageError('--oidc-issuer requires --oidc-client-id, the identifier of this service at the identity provider');
  const secretFile = setting('oidcClientSecretFile');
  const secret = secretFile === '' ? (clientSecret ?? '') : readInputFile(secretFile, '--oidc-client-secret-file').toString().trim();
  return {
    issuer,
    clientId,
    clientSecret: secret === '' ? null : secret,
    name: setting('oidcName', issuer.host),
    scopes: setting('oidcScopes', 'openid profile email'),
    audience: setting('oidcAudience') || null,
    roleClaim: setting('oidcRoleClaim', 'groups'),
    roleRules: readRoleRules(setting('oidcRoles')),
    deviceScopes: readScopeRules(setting),
    publicUrl,
    sessionDuration: readInteger('session-hours', setting('sessionHours', '8'), 1, 24 * 30) * 3_600_000,
  };
}

/** Reads rules such as `admin=platform-admins,viewer=*`. @throws {UsageError} */
function readRoleRules(text: string): RoleRule[] {
  const rules = text
    .split(',')
    .filter((rule) => rule.trim() !== '')
    .map((rule) => {
      const separator = rule.indexOf('=');
      const role = personRoles.find((known) => known === rule.slice(0, separator).trim());
      const value = rule.slice(separator + 1).trim();
      if (separator < 0 || role === undefined || value === '')
        throw new UsageError(
          `--oidc-roles: expected ROLE=VALUE, with a role of ${personRoles.join(', ')} and a value of the claim, such as admin=platform-admins,viewer=*; received "${rule.trim()}"`,
        );
      return { role, value };
    });
  if (rules.length === 0)
    throw new UsageError(
      '--oidc-issuer requires --oidc-roles, such as admin=platform-admins,viewer=*: without it, people who sign in have no role',
    );
  if (rules.length > ruleLimit) throw new UsageError(`--oidc-roles: expected up to ${ruleLimit} rules, received ${rules.length}`);
  return rules;
}

/** Reads rules such as `north-operators=zone=north;platform=*`. @throws {UsageError} */
function readScopeRules(setting: (option: ProviderOption, defaultValue?: string) => string): ScopeRules {
  const rules = setting('oidcDeviceScopes')
    .split(';')
    .filter((rule) => rule.trim() !== '')
    .map(readScopeRule);
  if (rules.length > ruleLimit) throw new UsageError(`--oidc-device-scopes: expected up to ${ruleLimit} rules, received ${rules.length}`);
  const selectors = rules.flatMap(({ selector }) => (selector === null ? [] : [selector]));
  // The scope of a person whom all rules match.
  if (selectors.length > 0) readSelector(formatLabelSelector(uniteSelectors(selectors)), parseScope);
  const text = setting('oidcUnmatchedDeviceScope', unmatchedScopes[0]);
  const unmatched = unmatchedScopes.find((known) => known === text);
  if (unmatched === undefined)
    throw new UsageError(`--oidc-unmatched-device-scope: expected ${unmatchedScopes.join(' or ')}, received "${text}"`);
  return { claim: setting('oidcDeviceScopeClaim', setting('oidcRoleClaim', 'groups')), rules, unmatched };
}

/** Reads VALUE=SELECTOR. The first "=" ends the value. @throws {UsageError} */
function readScopeRule(rule: string): ScopeRule {
  const separator = rule.indexOf('=');
  const [value, text] = [rule.slice(0, separator).trim(), rule.slice(separator + 1).trim()];
  if (separator < 0 || value === '' || text === '')
    throw new UsageError(
      `--oidc-device-scopes: expected VALUE=SELECTOR, with a value of the claim and a label selector or *, such as "north-operators=zone=north;platform=*"; received "${rule.trim()}"`,
    );
  return { value, selector: text === '*' ? null : readSelector(text, parseLabelSelector) };
}

/** @throws {UsageError} */
function readSelector(text: string, parse: (text: string) => LabelSelector): LabelSelector {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof LabelSelectorError)) throw error;
    throw new UsageError(`--oidc-device-scopes: "${text.slice(0, 200)}" is not a label selector: ${error.message}`);
  }
}

/** Reads the URL of a flag. @throws {UsageError} */
export function readUrl(flag: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new UsageError(`${flag}: expected a URL such as https://sso.example.com, received "${text}"`);
  return url;
}

function flagOf(option: ProviderOption): string {
  return `--${option.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
