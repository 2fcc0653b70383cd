// A real OpenID provider on a free port of loopback, for the tests of `engine::oidc`.
//
//   node provider.mjs FOLDER REDIRECT_URI [other|factors]
//
// FOLDER has `oidc-provider` in its `node_modules`. Writes its issuer on one line, and ends when its standard input does.
// Anybody may log in under any name; everybody is in the same groups. The other kind of provider puts all claims into ID
// tokens, and takes a client's secret in the form alone. `factors` is one that says of everybody that they showed two.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, redirectUri, kind] = process.argv.slice(2);
const other = kind === 'other';
const entry = createRequire(path.join(path.resolve(folder), 'index.js')).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(entry));

const key = (kid, alg, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig',
});
const client = (id, alg, method) => ({
  client_id: id,
  ...(method === 'none' ? {} : { client_secret: `${id}:50%+&=/?secret` }),
  redirect_uris: [redirectUri],
  id_token_signed_response_alg: alg,
  token_endpoint_auth_method: method,
});

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  acrValues: kind === 'factors' ? ['urn:example:mfa'] : [],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  clientAuthMethods: other ? ['client_secret_post'] : ['client_secret_basic', 'none'],
  clients: other
    ? [client('post', 'ES256', 'client_secret_post')]
    : [client('basic', 'RS256', 'client_secret_basic'), client('public', 'EdDSA', 'none')],
  conformIdTokenClaims: !other,
  cookies: { keys: ['a key of the tests'] },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `Somebody called ${id}`,
      preferred_username: id,
      email: `${id}@example.org`,
      email_verified: id !== 'eve',
      groups: ['lab', 'admins'],
    }),
  }),
  jwks: {
    keys: [
      key('r', 'RS256', 'rsa', { modulusLength: 2048 }),
      key('e', 'ES256', 'ec', { namedCurve: 'P-256' }),
      key('o', 'EdDSA', 'ed25519', {}),
    ],
  },
});
if (kind === 'factors') {
  const { loginAccount } = provider.Session.prototype;
  provider.Session.prototype.loginAccount = function (details) {
    return loginAccount.call(this, { ...details, acr: 'urn:example:mfa', amr: ['pwd', 'otp'] });
  };
}
server.on('request', provider.callback());
process.stdin.resume().on('end', () => process.exit());
process.stdout.write(`${issuer}\n`);
