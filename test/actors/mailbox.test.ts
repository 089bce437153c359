import { expect, test } from 'vitest';
import { Mailbox } from '../../src/actors/mailbox.ts';

test('mailbox: messages come out once, in order, however it is filled and emptied', () => {
  const mailbox = new Mailbox<number>();
  const out: number[] = [];
  let put = 0;
  for (let round = 0; round < 5000; round++) {
    for (let i = 0; i < round % 4; i++) mailbox.put(put++);
    const taken = mailbox.take();
    if (taken !== undefined) out.push(taken);
    expect(mailbox.size).toBe(put - out.length);
  }
  for (let m = mailbox.take(); m !== undefined; m = mailbox.take()) out.push(m);
  expect(out).toEqual(Array.from({ length: put }, (_, i) => i));
  expect(mailbox.size).toBe(0);
});
