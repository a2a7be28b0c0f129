// The identity provider: OpenID Connect Core 1.0, authorization code flow with PKCE (RFC 7636), and access tokens that are JWTs (RFC 9068).

import { createRemoteJWKSet, errors as joseErrors, jwtVerify } from 'jose';
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  type Configuration,
  calculatePKCECodeChallenge,
  clockTolerance,
  discovery,
  fetchUserInfo,
  None,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client';
import type { LabelSelector } from '../../protocol/label-selector.ts';
import type { Clock } from '../clock/service-clock.ts';
import { Problem } from '../problem.ts';
import type { Claims } from './claims.ts';
import { type PersonRole, type RoleRule, rolesOf } from './role-rules.ts';
import { type ScopeRules, scopeFrom } from './scope-rules.ts';

export type ProviderSettings = {
  readonly issuer: URL;
  /** Name for people, such as "Example SSO". */
  readonly name: string;
  readonly clientId: string;
  /** Null for a public client. */
  readonly clientSecret: string | null;
  /** Separated by spaces. */
  readonly scopes: string;
  /** The audience that bearer tokens must have; null: bearer tokens of the provider are not accepted. */
  readonly audience: string | null;
  readonly roleClaim: string;
  readonly roleRules: readonly RoleRule[];
  readonly deviceScopes: ScopeRules;
  /** The origin at which people use the service; null: that of each request. */
  readonly publicUrl: URL | null;
  /** How long a session lasts, in milliseconds. */
  readonly sessionDuration: number;
};

/** What the provider states about a person or another client. */
export type Identity = {
  readonly issuer: string;
  readonly subject: string;
  readonly name: string | null;
  readonly email: string | null;
  readonly roles: readonly PersonRole[];
  /** The devices that the person can use; null: all. */
  readonly scope: LabelSelector | null;
};

/** What the service must remember between the start of a sign-in and the return of the browser. */
export type PendingSignIn = { readonly verifier: string; readonly state: string; readonly nonce: string };

/** Maximum time for a request to the provider, in seconds. */
const requestTimeout = 10;
/** Permitted difference between the clocks of the provider and the service, in seconds. */
const permittedSkew = 30;
/** Milliseconds after which a failed discovery is repeated. */
const discoveryPause = 1_000;
/** Maximum length of a name or an email address; longer ones are cut. */
const maxTextLength = 200;
/** Maximum length of a subject (OpenID Connect Core 1.0, section 2). */
const maxSubjectLength = 255;
/** The last moment that times of the API can express, in milliseconds since 1970. */
const lastMoment = Date.parse('9999-12-31T23:59:59.999Z');
/** Asymmetric algorithms only: the secret of the client must not verify tokens. */
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];

type Discovered = { readonly configuration: Configuration; readonly keys: ReturnType<typeof createRemoteJWKSet> };

export class IdentityProvider {
  readonly settings: ProviderSettings;
  readonly #clock: Clock;
  #discovered: Promise<Discovered> | null = null;
  /** Until when a failed discovery is not repeated, on the monotonic clock. */
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(settings: ProviderSettings, clock: Clock) {
    this.settings = settings;
    this.#clock = clock;
  }

  /** Begins a sign-in. Returns the page of the provider, and what to remember. @throws {Problem} `provider-unavailable`. */
  async begin(redirectUri: string): Promise<{ readonly page: URL; readonly pending: PendingSignIn }> {
    const { configuration } = await this.#discover();
    const pending = { verifier: randomPKCECodeVerifier(), state: randomState(), nonce: randomNonce() };
    const page = buildAuthorizationUrl(configuration, {
      redirect_uri: redirectUri,
      scope: this.settings.scopes,
      code_challenge: await calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: 'S256',
      state: pending.state,
      nonce: pending.nonce,
    });
    return { page, pending };
  }

  /**
   * Completes a sign-in.
   * @param returned The URL with which the browser returned from the provider.
   * @throws {Problem} `provider-unavailable`. {Error} if the provider or a check refuses.
   */
  async complete(returned: URL, { verifier, state, nonce }: PendingSignIn): Promise<Identity> {
    const { configuration } = await this.#discover();
    const tokens = await authorizationCodeGrant(configuration, returned, {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: nonce,
      idTokenExpected: true,
    });
    const claims = tokens.claims();
    if (claims === undefined) throw new Error('the provider sent no ID token');
    // Many providers state groups only there.
    const hasUserInfo = configuration.serverMetadata().userinfo_endpoint !== undefined;
    const more = hasUserInfo ? await fetchUserInfo(configuration, tokens.access_token, claims.sub) : {};
    return this.#toIdentity({ ...more, ...claims }, claims.sub);
  }

  /** Returns the identity that a bearer token proves. @throws {Problem} `unauthenticated`, `provider-unavailable`. */
  async verify(token: string): Promise<Identity & { readonly expiresAt: Date }> {
    const { audience, issuer } = this.settings;
    if (audience === null)
      throw new Problem(
        'unauthenticated',
        'the service accepts no tokens of an identity provider: send an API key, or start it with --oidc-audience',
      );
    const { keys, configuration } = await this.#discover();
    const verified = jwtVerify(token, keys, {
      issuer: configuration.serverMetadata().issuer,
      audience,
      algorithms,
      clockTolerance: permittedSkew,
      requiredClaims: ['sub', 'exp'],
      currentDate: this.#clock.now(),
    });
    const { payload } = await verified.catch((error: unknown) => {
      throw explainRefusal(error, issuer);
    });
    const { sub, exp = 0 } = payload;
    return { ...this.#toIdentity(payload, sub), expiresAt: new Date(Math.min((exp + permittedSkew) * 1_000, lastMoment)) };
  }

  /** @throws {Problem} `unauthenticated`. */
  #toIdentity(claims: Claims, subject: unknown): Identity {
    const { roleClaim, roleRules, deviceScopes, issuer } = this.settings;
    if (!isSubject(subject))
      throw new Problem(
        'unauthenticated',
        `the claim "sub" of the token is not as required: expected a text of 1 to ${maxSubjectLength} characters without U+0000`,
      );
    const email = claims['email_verified'] === false ? null : textOf(claims['email']);
    const name = [claims['name'], claims['preferred_username'], email].map(textOf).find((text) => text !== null) ?? null;
    const roles = rolesOf(claims, roleClaim, roleRules);
    return { issuer: issuer.href, subject, name, email, roles, scope: scopeFrom(claims, roles, deviceScopes) };
  }

  /** Reads the metadata of the provider, once it is reachable. @throws {Problem} `provider-unavailable`. */
  async #discover(): Promise<Discovered> {
    if (this.#discovered === null && this.#clock.monotonic() < this.#pausedUntil)
      throw unavailable(this.settings.issuer, new Error('it could not be reached a moment ago'));
    this.#discovered ??= this.#readMetadata().catch((error: unknown) => {
      this.#discovered = null;
      this.#pausedUntil = this.#clock.monotonic() + discoveryPause;
      throw unavailable(this.settings.issuer, error);
    });
    return this.#discovered;
  }

  async #readMetadata(): Promise<Discovered> {
    const { issuer, clientId, clientSecret } = this.settings;
    const isLocal = issuer.protocol === 'http:';
    const authentication = clientSecret === null ? None() : undefined;
    const configuration = await discovery(
      issuer,
      clientId,
      { ...(clientSecret === null ? {} : { client_secret: clientSecret }), [clockTolerance]: permittedSkew },
      authentication,
      {
        timeout: requestTimeout,
        ...(isLocal ? { execute: [allowInsecureRequests] } : {}),
      },
    );
    const { jwks_uri: keys } = configuration.serverMetadata();
    if (keys === undefined) throw new Error('its metadata has no jwks_uri');
    return { configuration, keys: createRemoteJWKSet(new URL(keys), { timeoutDuration: requestTimeout * 1_000 }) };
  }
}

function unavailable(issuer: URL, error: unknown): Problem {
  const reason = error instanceof Error ? error.message : String(error);
  return new Problem('provider-unavailable', `the identity provider ${issuer.href} cannot be used: ${reason}`, {
    retryAfterSeconds: discoveryPause / 1_000,
  });
}

/** Returns why a bearer token was refused, without its content. */
function explainRefusal(error: unknown, issuer: URL): Problem {
  if (error instanceof joseErrors.JWTExpired)
    return new Problem('unauthenticated', 'the token has expired: request a new one from the identity provider');
  if (error instanceof joseErrors.JWTClaimValidationFailed)
    return new Problem('unauthenticated', `the claim "${error.claim}" of the token is missing or not as required: ${error.message}`);
  const isRefusal =
    error instanceof joseErrors.JWTInvalid ||
    error instanceof joseErrors.JWSInvalid ||
    error instanceof joseErrors.JOSEAlgNotAllowed ||
    error instanceof joseErrors.JOSENotSupported ||
    error instanceof joseErrors.JWSSignatureVerificationFailed ||
    error instanceof joseErrors.JWKSNoMatchingKey;
  return isRefusal
    ? new Problem('unauthenticated', `the token is not a valid token of ${issuer.href}: ${error.message}`)
    : unavailable(issuer, error);
}

/** Returns whether a claim identifies a person or client. Another text would not be the same after the database stored it. */
function isSubject(claim: unknown): claim is string {
  return typeof claim === 'string' && claim !== '' && claim.length <= maxSubjectLength && claim.isWellFormed() && !claim.includes('\0');
}

/** Returns a text as the databases store it, up to the maximum length; null if there is none. */
function textOf(claim: unknown): string | null {
  if (typeof claim !== 'string') return null;
  const text = claim.replaceAll('\0', '').toWellFormed().trim();
  // The cut may leave half of a surrogate pair.
  return text.slice(0, maxTextLength).replace(/[\ud800-\udbff]$/, '') || null;
}
