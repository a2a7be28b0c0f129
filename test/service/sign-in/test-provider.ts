// A real OpenID Connect provider (npm oidc-provider), whose people sign in without a form.

import { createServer, type Server } from 'node:http';
import { Provider } from 'oidc-provider';
import type { ProviderSettings } from '../../../src/service/sign-in/identity-provider.ts';

export type Person = {
  readonly name?: string;
  readonly email?: string;
  readonly email_verified?: boolean;
  readonly groups?: readonly string[];
};

export const clientSecret = 'secret-of-the-service-at-the-provider';
/** The audience of tokens for the API. */
export const audience = 'https://patchbay.example.com/api';

export class TestProvider {
  /** The person who signs in next; null: the person declines. */
  next: string | null = null;
  readonly people: Map<string, Person> = new Map();
  readonly #server: Server;
  readonly issuer: URL;

  private constructor(server: Server, issuer: URL) {
    this.#server = server;
    this.issuer = issuer;
  }

  /** Starts a provider. @param redirectUri The callback of the service, which is registered at the provider. */
  static async start(redirectUri: string, port = 0): Promise<TestProvider> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the provider has no port');
    const issuer = new URL(`http://127.0.0.1:${address.port}/`);
    const started = new TestProvider(server, issuer);
    const provider = started.#createProvider(redirectUri);
    const handle = provider.callback();
    server.on('request', (request, response) => {
      if (!request.url?.startsWith('/interaction/')) void handle(request, response);
      else started.#decide(provider, request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
    return started;
  }

  /** Returns the settings of a service that uses the provider. */
  settings(changes: Partial<ProviderSettings> = {}): ProviderSettings {
    return {
      issuer: this.issuer,
      name: 'Example SSO',
      clientId: 'patchbay',
      clientSecret,
      scopes: 'openid profile email',
      audience,
      roleClaim: 'groups',
      roleRules: [
        { role: 'admin', value: 'admins' },
        { role: 'operator', value: 'on-call' },
        { role: 'publisher', value: 'engineers' },
      ],
      deviceScopes: { claim: 'groups', rules: [], unmatched: 'refuse' },
      publicUrl: null,
      sessionDuration: 3_600_000,
      ...changes,
    };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Returns an access token for the API. @param client `pipeline`, which has an account of its own. */
  async token(scope = 'deploy', resource = audience): Promise<string> {
    const response = await fetch(new URL('/token', this.issuer), {
      method: 'POST',
      headers: { authorization: `Basic ${btoa('pipeline:secret-of-the-pipeline')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource }),
    });
    const { access_token: token } = Object(await response.json());
    if (typeof token !== 'string') throw new Error(`the provider refused: ${response.status}`);
    return token;
  }

  #createProvider(redirectUri: string): Provider {
    return new Provider(this.issuer.href, {
      clients: [
        {
          client_id: 'patchbay',
          client_secret: clientSecret,
          redirect_uris: [redirectUri],
          grant_types: ['authorization_code'],
          response_types: ['code'],
        },
        {
          client_id: 'public',
          token_endpoint_auth_method: 'none',
          redirect_uris: [redirectUri],
          grant_types: ['authorization_code'],
          response_types: ['code'],
        },
        {
          client_id: 'pipeline',
          client_secret: 'secret-of-the-pipeline',
          redirect_uris: [],
          grant_types: ['client_credentials'],
          response_types: [],
        },
      ],
      claims: { profile: ['name', 'groups'], email: ['email', 'email_verified'] },
      findAccount: (_context, id) => ({
        accountId: id,
        claims: async () => ({ sub: id, ...this.people.get(id), groups: [...(this.people.get(id)?.groups ?? [])] }),
      }),
      interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
      cookies: { keys: ['of-the-tests'] },
      pkce: { required: () => true },
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: (_context, resource) => ({
            scope: 'deploy read',
            audience: resource,
            accessTokenFormat: 'jwt',
            accessTokenTTL: 600,
            jwt: { sign: { alg: 'RS256' } },
          }),
        },
      },
    });
  }

  /** Signs the next person in, with the scopes that the service asks for. */
  async #decide(provider: Provider, ...[request, response]: Parameters<Provider['interactionDetails']>): Promise<void> {
    const { params } = await provider.interactionDetails(request, response);
    if (this.next === null)
      return provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'declined' });
    const grant = new provider.Grant({ accountId: this.next, clientId: String(params['client_id']) });
    grant.addOIDCScope(String(params['scope']));
    return provider.interactionFinished(request, response, { login: { accountId: this.next }, consent: { grantId: await grant.save() } });
  }
}
