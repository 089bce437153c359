/**
 * What an actor may ask of its runtime. An actor has no sockets, timers or clients: it posts
 * messages and names registry calls; the runtime (a real thread, or the simulation) carries them
 * out and comes back through `done`, never from within `call`.
 *
 * Thread: pool. Pure.
 */
import type { ErrorBody } from '../domain/errors.ts';
import type { PoolToSupervisor } from '../protocol/supervisor-pool.ts';
import type { Registry, RegistryReply } from '../registry/registry.ts';

export type Outcome<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ErrorBody };

export type Done<T> = (outcome: Outcome<T>, now: number) => void;

export interface Effects {
  /** Buffers named in `transfer` are detached here once the turn ends. */
  post(message: PoolToSupervisor, transfer?: readonly ArrayBuffer[]): void;
  call<K extends keyof Registry>(
    op: K,
    args: Parameters<Registry[K]>[0],
    done: Done<RegistryReply<K>>,
  ): void;
}
