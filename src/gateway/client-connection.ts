/**
 * A client's connection: `start` or `resume` first, then audio and controls, in either subprotocol.
 *
 * Thread: supervisor. Owns: in JSON mode the implied audio offset.
 */
import type { IncomingMessage } from 'node:http';
import { rotated } from '../audio/mask.ts';
import { errorBody } from '../domain/errors.ts';
import { isSessionId } from '../domain/ids.ts';
import { decodeClient, encode, type DecodeResult } from '../protocol/codec.ts';
import type {
  ClientMessage,
  ClientToScheduler,
  SchedulerToClient,
  Start,
} from '../protocol/client-wire.ts';
import { decodeClientJson, encodeClientJson } from '../protocol/json-codec.ts';
import { unpack } from '../protocol/pack.ts';
import { readAudio, readMaskedAudio } from '../protocol/scan.ts';
import type { ConnId } from '../protocol/supervisor-pool.ts';
import { AudioRate } from './audio-rate.ts';
import { checkStart } from './check.ts';
import {
  Connection,
  type ConnectionHost,
  type GatewaySocket,
  type Outgoing,
} from './connection.ts';
import type { Taken } from './front-reader.ts';
import type { Haste, Offer } from './gateway.ts';

/** Tenants come later; records already carry one. */
const TENANT = 'default';

export class ClientConnection extends Connection {
  readonly kind = 'client';
  readonly #json: boolean;
  /** JSON mode: where the next binary message begins; null: `resumed` has yet to say. */
  #offset: number | null = 0;
  #rate: AudioRate | null = null;

  constructor(
    host: ConnectionHost,
    id: ConnId,
    ws: GatewaySocket,
    request: IncomingMessage,
    json: boolean,
  ) {
    super(host, id, ws, request);
    this.#json = json;
  }

  protected override handle(bytes: Buffer, isBinary: boolean): Offer {
    if (this.#json)
      return isBinary ? this.#rawAudio(bytes) : this.#decoded(decodeClientJson(bytes));
    if (!isBinary) {
      this.badMessage('text is understood in the subprotocol dragoman.json.v1 only');
      return 'taken';
    }
    if (this.announced) {
      const audio = readAudio(bytes);
      if (audio !== null) {
        const data = bytes.subarray(audio.dataStart, audio.dataEnd);
        return this.#audio(audio.offset, data);
      }
    }
    return this.#decoded(decodeClient(bytes));
  }

  #rawAudio(data: Buffer): Offer {
    if (!this.announced) {
      this.badMessage('the first message is start or resume');
      return 'taken';
    }
    if (this.#offset === null) {
      this.badMessage('after resume, wait for resumed: it says where audio goes on');
      return 'taken';
    }
    const offer = this.#audio(this.#offset, data);
    if (offer === 'taken') this.#offset += data.length;
    return offer;
  }

  /** Audio goes from the socket's memory straight to where it is needed. */
  override takeMasked(chunk: Buffer, start: number, length: number, mask: number): Taken {
    const audio =
      this.#json || !this.announced ? null : readMaskedAudio(chunk, start, length, mask);
    if (audio === null) return super.takeMasked(chunk, start, length, mask);
    const may = this.mayTake(length);
    if (may !== 'taken') return may;
    const { offset, dataStart, dataEnd } = audio;
    const data = chunk.subarray(start + dataStart, start + dataEnd);
    if (this.#audio(offset, data, rotated(mask, dataStart)) === 'full') return this.pause();
    return this.took(length);
  }

  #audio(offset: number, data: Uint8Array, mask?: number): Offer {
    const offer = this.host.events.clientAudio(this.id, offset, data, mask);
    if (offer === 'full') return offer;
    const overMs = this.#rate?.overMs(data.length, this.host.clock) ?? 0;
    if (overMs > 0) this.#tooFast(overMs);
    return offer;
  }

  #tooFast(overMs: number): void {
    this.host.counters.audioTooFast++;
    const message = `audio comes faster than ${this.host.config.audioRateMax} times real time`;
    this.refuse(errorBody('audio_too_fast', message, { retry_after_ms: Math.ceil(overMs) }));
  }

  #limitRate(audio: Start['audio'] | null): void {
    const { config, clock } = this.host;
    if (config.audioRateMax === 0) return;
    this.#rate = new AudioRate(audio, config.audioRateMax, clock.monoMs());
  }

  #decoded(result: DecodeResult<ClientToScheduler>): Offer {
    if (!result.ok) {
      this.notDecoded(result);
      return 'taken';
    }
    const { message } = result;
    if (message.type === 'start' || message.type === 'resume') {
      if (this.announced) this.badMessage(`${message.type}: only as the first message`);
      else if (message.type === 'start') this.#start(message);
      else this.#resume(message);
      return 'taken';
    }
    if (!this.announced) {
      this.badMessage(`${message.type}: the first message is start or resume`);
      return 'taken';
    }
    return message.type === 'audio'
      ? this.#audio(message.offset, message.data)
      : this.host.events.clientControl(this.id, message);
  }

  #start(start: Start): void {
    const refusal = this.host.events.admission('client');
    if (refusal !== null) return this.refuse(refusal);
    const problem = checkStart(start);
    if (problem?.code === 'bad_message') return this.badMessage(problem.message);
    if (problem !== null) return this.fail(problem.code, problem.message);
    this.announce();
    this.#limitRate(start.audio);
    this.host.events.clientStart(this.id, start, TENANT);
  }

  #resume(resume: ClientMessage<'resume'>): void {
    const refusal = this.host.events.admission('client');
    if (refusal !== null) return this.refuse(refusal);
    if (!isSessionId(resume.session_id)) {
      return this.fail('no_such_session', 'resume.session_id: no session has this id');
    }
    this.#offset = null;
    this.announce();
    this.#limitRate(null);
    this.host.events.clientResume(this.id, resume);
  }

  sendToClient(message: SchedulerToClient): void {
    if (message.type === 'resumed' || message.type === 'rewind')
      this.#offset = message.audio_offset;
    this.send(message);
  }

  /** A message that is packed already. */
  sendFrame(frame: Uint8Array, haste: Haste): void {
    if (this.phase === 'closing' || this.phase === 'gone') return;
    const payload = this.#json ? encodeClientJson(unpack(frame) as SchedulerToClient) : frame;
    // Those that waited come many at once for no fault of the peer's: they count as little as jobs do.
    if (haste === 'waited') this.outbox.sendTracked(payload, () => undefined);
    else this.sendPayload(payload, haste === 'patient');
  }

  protected override encode(message: Outgoing): Uint8Array | string {
    const typed = message as SchedulerToClient;
    return this.#json ? encodeClientJson(typed) : encode(typed);
  }

  protected override announceGone(clean: boolean): void {
    this.host.events.clientGone(this.id, clean);
  }
}
