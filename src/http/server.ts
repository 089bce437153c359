/**
 * The HTTP endpoints, on the port that also takes the WebSockets.
 *
 * Thread: supervisor. Owns: the http.Server (the gateway adds its upgrade listener to it).
 * Bounds: bodies ≤ `BODY_BYTES_MAX`, lists ≤ `LIST_MAX`, headers within `HEADERS_MS`.
 * Answers are JSON; errors are `{code, message}` with the codes of domain/errors.ts and the few of
 * HTTP itself (`not_found`, `method_not_allowed`, `bad_request`).
 */
import { createServer, type Server } from 'node:http';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import { SchedulerError } from '../domain/errors.ts';
import type { Clock } from '../platform/clock.ts';
import type { Logger } from '../platform/logger.ts';
import { bearerOf } from '../protocol/bearer.ts';
import type { RegistryViews } from '../registry/registry.ts';
import { HttpError } from './http-error.ts';
import { listenError } from './listen-error.ts';
import { createMetrics } from './metrics.ts';
import { addViews } from './views.ts';
import type { AdminTokens, MetricsSource, Readiness } from './sources.ts';

/** No call has a body worth more; reading one would only cost memory. */
const BODY_BYTES_MAX = 16_384;
/** A client that dribbles its headers holds a socket no longer than this. */
const HEADERS_MS = 10_000;

export interface HttpOptions {
  readonly config: { readonly host: string; readonly port: number };
  readonly tokens: AdminTokens;
  readonly views: RegistryViews;
  readonly readiness: () => Readiness;
  readonly metrics: MetricsSource;
  /** Begins the drain of this instance; may be called again. */
  readonly drain: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface HttpServer {
  readonly server: Server;
  /** The port it listens on (the configured one may be 0). */
  listen(): Promise<number>;
  /** Stops listening and ends idle connections; upgraded ones are the gateway's to end first. */
  close(): Promise<void>;
}

export async function createHttp(options: HttpOptions): Promise<HttpServer> {
  let server: Server | undefined;
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    // Errors of the router itself (a bad escape in the path) take the same form.
    frameworkErrors: (error, _request, reply) => {
      void answerError(options.log, error, reply);
    },
    serverFactory: (handler) => {
      server = createServer(
        { headersTimeout: HEADERS_MS, connectionsCheckingInterval: 5000 },
        handler,
      );
      return server;
    },
  });
  app.setErrorHandler((error: FastifyError, _request, reply) =>
    answerError(options.log, error, reply),
  );
  app.setNotFoundHandler((request, reply) => notFound(request, reply));
  // POST without a body, whatever its content type claims.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) =>
    done(null, undefined),
  );

  const metrics = createMetrics({
    source: options.metrics,
    views: options.views,
    clock: options.clock,
  });
  addHealth(app, options, metrics);
  addViews(app, options.views);
  addAdmin(app, options);
  await app.ready();
  if (server === undefined) throw new Error('fastify made no server');
  return running(app, server, options);
}

function running(app: FastifyInstance, server: Server, options: HttpOptions): HttpServer {
  return {
    server,
    listen: () =>
      new Promise((resolve, reject) => {
        const { host, port } = options.config;
        const refused = (error: Error): void => reject(listenError(error, host, port));
        server.once('error', refused);
        server.listen(port, host, () => {
          server.off('error', refused);
          const address = server.address();
          resolve(typeof address === 'object' && address !== null ? address.port : port);
        });
      }),
    async close() {
      await app.close();
      if (!server.listening) return;
      const ended = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await ended;
    },
  };
}

function addHealth(
  app: FastifyInstance,
  options: HttpOptions,
  metrics: ReturnType<typeof createMetrics>,
): void {
  app.get('/healthz', () => ({ status: 'ok' }));
  app.get('/readyz', (_request, reply) => {
    const readiness = options.readiness();
    return reply.code(readiness.ready ? 200 : 503).send(readiness);
  });
  app.get('/metrics', async (_request, reply) => {
    const text = await metrics.render();
    return reply.type(metrics.contentType).send(text);
  });
  for (const path of ['/v1/session', '/v1/node']) {
    app.get(path, (_request, reply) => {
      const message = `${path} speaks WebSocket`;
      return reply.code(426).header('upgrade', 'websocket').send({ code: 'bad_request', message });
    });
  }
}

function addAdmin(app: FastifyInstance, { tokens, drain, views, log }: HttpOptions): void {
  app.post('/v1/drain', (request, reply) => {
    admit(request, tokens);
    log.info('http.drain_asked', { from: request.ip });
    drain();
    return reply.code(202).send({ status: 'draining' });
  });
  app.post<{ Params: { id: string } }>('/v1/nodes/:id/drain', async (request) => {
    admit(request, tokens);
    const { id } = request.params;
    const node = (await views.nodes(NODES_LOOKED_AT)).find((each) => each.node_id === id);
    const reply = node && (await views.nodeDrain({ cell: node.cell, nodeId: node.node_id }));
    if (reply?.status !== 'draining') throw new HttpError(404, 'not_found', 'no node has this id');
    log.info('http.node_drain_asked', { from: request.ip, node: id });
    return { status: 'draining', node_id: id };
  });
}

/** The largest fleet. */
const NODES_LOOKED_AT = 10_000;

/** A call that changes something: a token where there are any, else only from this machine. */
function admit(request: FastifyRequest, tokens: AdminTokens): void {
  if (tokens.required('admin')) {
    const verdict = tokens.check('admin', bearerOf(request.headers.authorization));
    if (verdict === 'ok') return;
    if (verdict === 'forbidden')
      throw new HttpError(403, 'forbidden', 'the token is not an admin’s');
    const message = verdict === 'missing' ? 'an admin token is needed' : 'the token is not valid';
    throw new HttpError(401, 'unauthorized', message);
  }
  // A proxy on this machine speaks for someone else; a web page must not act through its visitor.
  const { headers } = request;
  const relayed = headers['x-forwarded-for'] !== undefined || headers['forwarded'] !== undefined;
  if (!isLoopback(request.socket.remoteAddress) || relayed || headers.origin !== undefined) {
    const message = 'without --admin-tokens this call is allowed from this machine only';
    throw new HttpError(403, 'forbidden', message);
  }
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::1|(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/.test(address);
}

function notFound(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = ['GET', 'POST'].some(
    (method) =>
      method !== request.method &&
      request.server.hasRoute({ method: method, url: pathOf(request) }),
  );
  return known
    ? reply.code(405).send({ code: 'method_not_allowed', message: `not with ${request.method}` })
    : reply.code(404).send({ code: 'not_found', message: 'there is nothing here' });
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? '';
}

function answerError(log: Logger, error: FastifyError | Error, reply: FastifyReply): FastifyReply {
  if (error instanceof HttpError) {
    if (error.status === 401) void reply.header('www-authenticate', 'Bearer');
    return reply.code(error.status).send({ code: error.code, message: error.message });
  }
  if (error instanceof SchedulerError) {
    return reply
      .code(503)
      .header('retry-after', '1')
      .send({ code: error.code, message: error.message });
  }
  const status = 'statusCode' in error && error.statusCode !== undefined ? error.statusCode : 500;
  if (status >= 400 && status < 500) {
    return reply.code(status).send({ code: 'bad_request', message: error.message });
  }
  log.error('http.failed', { error });
  return reply
    .code(500)
    .send({ code: 'internal', message: 'a fault in Dragoman; it is logged there' });
}
