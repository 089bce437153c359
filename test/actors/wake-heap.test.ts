import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WakeHeap } from '../../src/actors/wake-heap.ts';

test('wake heap: things come out by time, and only when their time has come', () => {
  const steps = fc.array(fc.oneof(fc.record({ set: fc.nat(50) }), fc.record({ due: fc.nat(60) })), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(steps, (list) => {
      const heap = new WakeHeap<number>();
      let model: number[] = [];
      for (const step of list) {
        if ('set' in step) {
          heap.set(step.set, step.set);
          model.push(step.set);
        } else {
          const expected = model.filter((at) => at <= step.due).sort((a, b) => a - b);
          const out: number[] = [];
          for (let t = heap.due(step.due); t !== undefined; t = heap.due(step.due)) out.push(t);
          expect(out).toEqual(expected);
          model = model.filter((at) => at > step.due);
        }
        expect(heap.size).toBe(model.length);
        expect(heap.nextAt).toBe(model.length === 0 ? null : Math.min(...model));
      }
    }),
  );
});

test('wake heap: one thing may wait for several times', () => {
  const heap = new WakeHeap<string>();
  heap.set(5, 'a');
  heap.set(2, 'a');
  heap.set(3, 'b');
  expect([heap.due(3), heap.due(3), heap.due(3), heap.due(5)]).toEqual(['a', 'b', undefined, 'a']);
});
