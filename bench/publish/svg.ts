/**
 * A line chart as SVG: a few series over one axis, each with its spread.
 *
 * Thread: any. Pure.
 */
export interface Point {
  readonly x: number;
  readonly y: number;
  readonly min?: number;
  readonly max?: number;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly logX: boolean;
  readonly series: readonly Series[];
}

const [WIDTH, HEIGHT] = [720, 400];
const EDGE = { left: 64, right: 24, top: 44, bottom: 52 } as const;
const COLOURS = ['#1565c0', '#c62828', '#2e7d32', '#6a1b9a', '#ef6c00'] as const;
const TICKS = 5;

interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

/** 1, 2 or 5 times a power of ten: the least of them that is enough. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return (([1, 2, 5, 10] as const).find((step) => step * power >= value * 0.999) ?? 10) * power;
}

function linear(max: number, from: number, to: number): Scale {
  const step = roundUp(max / TICKS);
  const top = Math.ceil(max / step) * step;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step);
  return { ticks, at: (value) => from + ((to - from) * value) / top };
}

/** Ticks are the values themselves; 0 stands where 1 would, a decade before the rest. */
function logarithmic(values: readonly number[], from: number, to: number): Scale {
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  const log = (value: number): number => Math.log10(Math.max(1, value));
  const [low, high] = [log(ticks[0] ?? 1), log(ticks.at(-1) ?? 1)];
  const span = high - low || 1;
  return { ticks, at: (value) => from + ((to - from) * (log(value) - low)) / span };
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

const px = (value: number): string => value.toFixed(1);

function text(x: number, y: number, content: string, anchor: string, more = ''): string {
  return `<text x="${px(x)}" y="${px(y)}" text-anchor="${anchor}"${more}>${escaped(content)}</text>`;
}

function line(x1: number, y1: number, x2: number, y2: number, stroke: string): string {
  return `<line x1="${px(x1)}" y1="${px(y1)}" x2="${px(x2)}" y2="${px(y2)}" stroke="${stroke}"/>`;
}

function drawn(series: Series, colour: string, x: Scale, y: Scale): string {
  const points = series.points.toSorted((a, b) => a.x - b.x);
  const path = points.map((p) => `${px(x.at(p.x))},${px(y.at(p.y))}`).join(' ');
  const marks = points.map((p) => {
    const at = x.at(p.x);
    const spread = line(at, y.at(p.min ?? p.y), at, y.at(p.max ?? p.y), colour);
    return `${spread}<circle cx="${px(at)}" cy="${px(y.at(p.y))}" r="3.5" fill="${colour}"/>`;
  });
  return [
    `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...marks,
  ].join('\n');
}

export function svgOf(chart: Chart): string {
  const all = chart.series.flatMap(({ points }) => points);
  const xs = all.map((p) => p.x);
  const right = WIDTH - EDGE.right;
  const bottom = HEIGHT - EDGE.bottom;
  const x = chart.logX
    ? logarithmic(xs, EDGE.left, right)
    : linear(Math.max(...xs), EDGE.left, right);
  const y = linear(Math.max(...all.map((p) => p.max ?? p.y)), bottom, EDGE.top);
  const grid = y.ticks.flatMap((value) => [
    line(EDGE.left, y.at(value), right, y.at(value), '#e0e0e0'),
    text(EDGE.left - 8, y.at(value) + 4, String(Number(value.toPrecision(6))), 'end'),
  ]);
  const below = x.ticks.flatMap((value) => [
    line(x.at(value), bottom, x.at(value), bottom + 5, '#757575'),
    text(x.at(value), bottom + 19, value.toLocaleString('en'), 'middle'),
  ]);
  const names = chart.series.map(({ name }, i) => {
    const at = EDGE.left + 12;
    const row = EDGE.top + 14 + i * 17;
    return `<rect x="${at}" y="${row - 9}" width="10" height="10" fill="${colourOf(i)}"/>${text(at + 16, row, name, 'start')}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#212121">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(EDGE.left, 24, chart.title, 'start', ' font-size="15" font-weight="bold"'),
    ...grid,
    ...below,
    line(EDGE.left, bottom, right, bottom, '#757575'),
    text((EDGE.left + right) / 2, HEIGHT - 12, chart.x, 'middle'),
    text(
      16,
      (EDGE.top + bottom) / 2,
      chart.y,
      'middle',
      ` transform="rotate(-90 16 ${(EDGE.top + bottom) / 2})"`,
    ),
    ...chart.series.map((series, i) => drawn(series, colourOf(i), x, y)),
    ...names,
    '</svg>',
    '',
  ].join('\n');
}

function colourOf(i: number): string {
  return COLOURS[i % COLOURS.length] ?? COLOURS[0];
}
