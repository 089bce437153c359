import { expect, test } from 'vitest';
import type { SessionId } from '../../../src/domain/ids.ts';
import type { Start } from '../../../src/protocol/client-wire.ts';
import { SupervisorRig } from './rig.ts';

const CONN = 7;
const SESSION = 'en-es.00000000000000000000' as SessionId;
const START: Start = {
  type: 'start',
  src: 'en',
  tgt: 'es',
  audio: { encoding: 'pcm_s16le', sample_rate: 16_000, channels: 1 },
};

const adopted = (rig: SupervisorRig) => rig.sent.filter((m) => m.type === 'session.adopt');

test('adopt: a new life learns what its client had sent, and that it had said stop', () => {
  const rig = new SupervisorRig();
  rig.supervisor.clientStart(CONN, START, '');
  const [open] = rig.sent;
  const session = open?.type === 'session.open' ? open.session : SESSION;
  rig.says({ type: 'session.bound', conn: CONN, session, receivedTo: 0 });
  rig.supervisor.clientAudio(CONN, 0, new Uint8Array(320));
  rig.supervisor.clientControl(CONN, { type: 'stop' });
  rig.die();
  rig.live();
  expect(adopted(rig)).toMatchObject([{ conn: CONN, session, receivedTo: 320, stopping: true }]);
});

// It was told 0, and took a stop said before the death for one behind the durable offset: what lay above was never asked for.
test('adopt: with no audio since its client resumed, a new life learns how far the last one had got', () => {
  const rig = new SupervisorRig();
  rig.supervisor.clientResume(CONN, {
    ...{ type: 'resume', session_id: SESSION, resume_token: 't', result_seq: 3 },
  });
  rig.says({ type: 'session.bound', conn: CONN, session: SESSION, receivedTo: 6400 });
  rig.supervisor.clientControl(CONN, { type: 'stop' });
  rig.die();
  rig.live();
  expect(adopted(rig)).toMatchObject([{ receivedTo: 6400, deliveredSeq: 3, stopping: true }]);
});
