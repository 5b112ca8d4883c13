'use strict';
const data = JSON.parse(document.getElementById('data').textContent), $ = id => document.getElementById(id);
const STEPS = 200;
let inks = {};
const ink = name => inks[name] ??= getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Elements: a tag, its text or children, and its attributes.
function make(tag, inside, attributes = {}) {
  const e = document.createElement(tag);
  if (Array.isArray(inside)) e.append(...inside); else if (inside !== undefined) e.textContent = inside;
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
}
const cells = (...list) => make('tr', list.map(x => x instanceof Node && x.nodeName === 'TD' ? x : make('td', x instanceof Node ? [x] : String(x))));
const wide = x => make('td', x instanceof Node ? [x] : x, {class: 'wide'});

// Numbers in the units of a person, three digits each, as the programs print them.
const three = v => v.toFixed(Math.abs(v) >= 99.95 ? 0 : Math.abs(v) >= 9.995 ? 1 : 2);
const UNITS = [[999.5e-9, 1e-9, 'ns'], [999.5e-6, 1e-6, 'µs'], [999.5e-3, 1e-3, 'ms'], [9999.5, 1, 's'], [1e7, 3600, 'h'], [3e9, 86400, 'days']];
function seconds(s) {
  const unit = UNITS.find(([below]) => s < below);
  return s === 0 ? '0 s' : unit ? three(s / unit[1]) + ' ' + unit[2] : s.toExponential(2) + ' s';
}
// A point in time, with as many digits as tell it from one `step` later; the unit is that of `of`.
function moment(t, step, of) {
  const [, size, name] = UNITS.find(([below]) => of < below) ?? [0, 1, 's'];
  return (t / size).toFixed(Math.min(12, Math.max(0, Math.ceil(-Math.log10(step / size) - 1e-6)))) + ' ' + name;
}
function metric(x, unit) {
  const i = x > 0 ? Math.max(0, Math.min(6, Math.floor(Math.log10(x * 1.0005) / 3))) : 0;
  return (i || unit !== 'B' ? three(x / 10 ** (3 * i)) : x) + ' ' + ['', 'k', 'M', 'G', 'T', 'P', 'E'][i] + unit;
}
const round = (x, unit) => metric(x, unit).replace(/\.0+ /, ' ');
const percent = (x, digits = 1) => (100 * x).toFixed(digits) + ' %';
function range([s, low, high]) {
  const unit = UNITS.find(([below]) => s < below);
  return low === high ? '–' : unit ? three(low / unit[1]) + '–' + three(high / unit[1]) + ' ' + unit[2] : seconds(low) + ' – ' + seconds(high);
}
// Half the interval against the time; the interval itself where that says more.
const error = time => time[1] === time[2] || time[0] === 0 ? '–' : time[2] - time[1] < time[0] ? percent((time[2] - time[1]) / 2 / time[0]) : range(time);
const count = n => n.toLocaleString('en');
const plural = (n, word) => count(n) + ' ' + word + (n === 1 ? '' : 's');

const SHARES = [['products', '--products'], ['memory-bound ops', '--memory'], ['communication', '--communication'], ['bubble', '--bubble'], ['idle', '--idle']];
const MEANS = {bubble: 'even the busiest GPU waits; more micro-batches win it back', idle: 'less to do than the busiest GPU'};
function bar(plan, tall) {
  const says = plan.shares.map((s, i) => SHARES[i][0] + ' ' + percent(s, 0)).join(', ');
  const parts = plan.shares.map((s, i) => make('i', '', {style: `width:${s * 100}%;background:var(${SHARES[i][1]})`}));
  return make('div', parts, {class: tall ? 'bar tall' : 'bar', role: 'img', title: says, 'aria-label': says});
}
const swatch = (color, text) => make('span', [make('i', '', {class: 'dot', style: 'background:' + color}), text]);

function showPlans() {
  $('source').textContent = data.source;
  data.plans.forEach((p, i) => {
    const name = make('button', p.name, {class: 'name'});
    name.onclick = () => show(i);
    const holds = metric(p.peak, 'B') + (p.capacity === null ? '' : ' of ' + metric(p.capacity, 'B'));
    const memory = make('span', (p.peak > p.capacity && p.capacity !== null ? '✗ ' : '') + holds);
    if (p.peak > p.capacity && p.capacity !== null) memory.className = 'lower';
    const row = cells(name, p.rank + (p.ties ? ' =' : ''), seconds(p.makespan[0]), '× ' + p.ratio.toFixed(2), wide(range(p.makespan)), wide(count(p.pieces)), bar(p), memory, wide(p.basis));
    if (i && p.model !== data.plans[i - 1].model) row.className = 'other';
    $('plans').append(row);
  });
  const kinds = data.kinds.filter(([name]) => !['input', 'output', 'join', 'recv'].includes(name));
  $('key').append(...kinds.map(([name, color]) => swatch(color, name)), swatch('var(--critical)', 'critical path'));
}

function facts(plan, n) {
  const o = plan.ops, box = $('facts');
  if (n < 0) { box.textContent = 'Click an op, or press n.'; return; }
  const [kind, what, time, basis] = o.works[o.work[n]], gpus = o.lanes[o.lane[n]];
  const where = o.layer[n] ? ' of layer ' + (o.layer[n] - 1) : '', piece = plan.pieces > 1 ? ', micro-batch ' + o.piece[n] : '';
  const on = data.kinds[kind][0] + ' on GPU' + (gpus.length > 1 ? 's ' : ' ') + gpus.join(', ');
  const took = seconds(time[0]) + (time[1] === time[2] ? '' : ' (' + range(time) + ')') + ', ' + basis;
  const clock = t => moment(t, (o.end[n] - o.start[n] || plan.makespan[0] || 1) / 100, o.end[n]);
  const when = 'from ' + clock(o.start[n]) + ' to ' + clock(o.end[n]) + (o.critical[n] ? ' · on the critical path' : '');
  box.replaceChildren(make('strong', o.names[o.name[n]] + where + piece), make('br'), what || 'takes no time', make('br'), on + ' · ' + took + ' · ' + when);
}

function showShares(plan) {
  const lines = plan.shares.map((s, i) => cells(swatch(`var(${SHARES[i][1]})`, SHARES[i][0]), percent(s), make('td', MEANS[SHARES[i][0]] || '', {class: 'text faint'})));
  $('shares').replaceChildren(bar(plan, true), make('div', [make('table', [make('tbody', lines)])], {class: 'scroll'}));
}

function showGains(plan) {
  const most = Math.max(...plan.gains.map(g => g[2]), 1e-300);
  $('gains').replaceChildren(...plan.gains.slice().sort((a, b) => b[2] - a[2]).map(([name, tenth, half]) => {
    const amount = make('i', '', {class: 'amount', style: `width:${half / most * 100}%`});
    const minus = s => s > 0 ? '−' + seconds(s) + ' (' + percent(s / plan.makespan[0], 0) + ')' : '0';
    return cells(name, minus(tenth), minus(half), make('td', [amount], {style: 'width:30%'}));
  }));
}

function span([s, low, high], most, color) {
  const at = x => (x / most * 100).toFixed(2) + '%';
  const parts = [make('i', '', {style: `width:${at(s)};background:${color}`})];
  if (low < high) parts.push(make('b', '', {style: `left:${at(low)};width:${at(high - low)}`}));
  return make('span', parts, {class: 'span'});
}

function showPath(plan) {
  const whole = plan.makespan[0] || 1, most = Math.max(...plan.groups.flatMap(g => g.rows.map(r => r[3][2])), 1e-300);
  const lines = plan.groups.flatMap(({layers, total, rows}) => {
    const title = !layers ? 'between layers' : layers[0] === layers[1] ? 'layer ' + layers[0] : `layers ${layers[0]}–${layers[1]}`;
    const head = cells(title, wide(''), '', seconds(total[0]), error(total), percent(total[0] / whole), wide(''), '');
    head.className = 'group';
    return [head, ...rows.map(([name, op, n, time, basis, color]) =>
      cells(swatch(color, name), make('td', op, {class: 'wide text'}), count(n), seconds(time[0]), error(time), percent(time[0] / whole), wide(span(time, most, color)), basis))];
  });
  $('path').replaceChildren(...lines);
  $('each').open = false;
  $('each').querySelector('summary').textContent = `Every op of the critical path (${count(plan.ops.walk.length)})`;
  $('steps').replaceChildren();
}

// The next ops of the critical path, a screenful at a time.
function showSteps() {
  const {plan} = timeline, o = plan.ops, from = $('steps').children.length;
  $('steps').append(...o.walk.slice(from, from + STEPS).map(n => {
    const [, , time, basis] = o.works[o.work[n]], gpus = o.lanes[o.lane[n]];
    const name = make('button', o.names[o.name[n]] + (o.layer[n] ? ' l' + (o.layer[n] - 1) : '') + (plan.pieces > 1 ? ' u' + o.piece[n] : ''), {class: 'name'});
    name.onclick = () => { timeline.go(n); $('time').scrollIntoView({block: 'center'}); };
    return cells(name, gpus.length > 1 ? gpus.length + ' GPUs' : gpus.join(), moment(o.start[n], (time[0] || 1) / 10, o.end[n]), seconds(time[0]), error(time), percent(time[0] / (plan.makespan[0] || 1), 2), basis);
  }));
  $('more').hidden = $('steps').children.length >= o.walk.length;
}

const plots = [];
// A plot with logarithmic axes that names its points.
function plot(place, options, columns, says) {
  const axis = {stroke: () => ink('--faint'), grid: {stroke: () => ink('--grid'), width: 1}, ticks: {show: false}, filter: (u, at) => at, font: '11px ui-sans-serif,system-ui,sans-serif', labelFont: '11px ui-sans-serif,system-ui,sans-serif', labelSize: 16, size: 30};
  const made = new uPlot({
    width: place.clientWidth, height: 300, padding: [12, 24, 0, 0], legend: {show: false},
    cursor: {drag: {x: false, y: false}, y: false, points: {size: 9}}, ...options,
    axes: options.axes.map(own => ({...axis, ...own})),
    hooks: {...options.hooks, setCursor: [u => u.cursor.idx !== null && says(u.cursor.idx)]},
  }, columns, place);
  plots.push(made);
  return made;
}
// Where a logarithmic axis has its lines: at powers of ten, and at 2 and 5 of them where there are few.
function decades(u, axis, low, high) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const at = steps => Array.from({length: last - first + 1}, (_, i) => steps.map(s => s * 10 ** (first + i))).flat().filter(v => low <= v && v <= high);
  return at([1]).length > 2 ? at([1]) : at([1, 2, 5]);
}
const padded = (low, high) => [low / 1.6, high * 1.6];

function showRoofline(plan) {
  const {points, peak, bandwidth, sheet} = plan.roofline, place = $('roofline');
  if (!points.length) { place.textContent = 'no products'; return; }
  const roof = x => Math.min(peak ?? Infinity, bandwidth === null ? Infinity : x * bandwidth);
  const known = Number.isFinite(roof(1));
  let [left, right] = padded(Math.min(...points.map(p => p[2])), Math.max(...points.map(p => p[2])));
  const ridge = peak / bandwidth;
  if (known && Number.isFinite(ridge)) { left = Math.min(left, ridge / 4); right = Math.max(right, ridge * 4); }
  const all = [...points.map((p, i) => [p[2], i]), ...[left, ridge, right].filter(Number.isFinite).map(x => [x, -1])].sort((a, b) => a[0] - b[0]);
  const xs = all.map(([x]) => x), ys = all.map(([, i]) => i < 0 ? null : points[i][3][0]);
  const rates = points.flatMap(p => p[3]).concat(known ? [peak ?? roof(right), roof(left)] : []);
  const say = i => {
    const p = points[all[i][1]];
    if (!p) return;
    const [rate, low, high] = p[3], of = known ? ', ' + percent(rate / roof(p[2]), 0) + ' of the roof' : '';
    const sure = low === high ? '' : ` (${metric(low, 'FLOP/s')} – ${metric(high, 'FLOP/s')})`;
    $('point').textContent = `${p[0]}: ${p[1]} · ${three(p[2])} FLOP a byte · ${metric(rate, 'FLOP/s')}${sure}${of} · ${percent(p[5])} of the GPUs' time · ${p[4]}`;
  };
  plot(place, {
    scales: {x: {time: false, distr: 3, range: () => [left, right]}, y: {distr: 3, range: () => padded(Math.min(...rates), Math.max(...rates))}},
    axes: [{label: 'FLOP per byte', splits: decades, values: (u, at) => at.map(count)}, {size: 84, splits: decades, values: (u, at) => at.map(v => round(v, 'FLOP/s'))}],
    series: [{}, {stroke: () => ink('--critical'), width: 1.5, points: {show: false}},
      {stroke: () => ink('--link'), width: 0, paths: () => null, points: {show: true, size: 9, fill: () => ink('--link')}}],
    hooks: {draw: [u => label(u, all.flatMap(([x, i]) => i < 0 ? [] : [[x, points[i][3][0], points[i][0], points[i][5]]]))]},
  }, [xs, known ? xs.map(roof) : xs.map(() => null), ys], say);
  say(all.findIndex(([, i]) => i === points.indexOf(points.reduce((a, b) => a[5] >= b[5] ? a : b))));
  place.setAttribute('aria-label', `roofline: ${points.length} products` + (known ? ' under the peaks of ' + sheet : '; no data sheet was given, so no roof is drawn'));
}

// Names beside points, the ones that take most time first; one that would stand on another is left out.
function label(u, points) {
  const {ctx} = u, d = devicePixelRatio || 1, taken = [], named = new Set();
  ctx.save(); ctx.font = 11 * d + 'px ui-sans-serif,system-ui,sans-serif'; ctx.fillStyle = ink('--ink'); ctx.textBaseline = 'middle'; ctx.textAlign = 'left';
  ctx.strokeStyle = ink('--page'); ctx.lineWidth = 3 * d; ctx.lineJoin = 'round';
  points.sort((a, b) => b[3] - a[3]).forEach(([x, y, text]) => {
    if (named.has(text)) return;
    named.add(text);
    const w = ctx.measureText(text).width, left = u.valToPos(x, 'x', true), top = u.valToPos(y, 'y', true);
    for (const [dx, dy] of [[-w / 2, -14 * d], [-w / 2, 15 * d], [8 * d, -14 * d], [8 * d, 15 * d], [-8 * d - w, -14 * d], [-8 * d - w, 15 * d], [-w / 2, 29 * d], [-w / 2, 43 * d]]) {
      const box = [left + dx - 2, top + dy - 7 * d, left + dx + w + 2, top + dy + 7 * d];
      if (box[0] < u.bbox.left || box[1] < u.bbox.top || box[2] > u.bbox.left + u.bbox.width || box[3] > u.bbox.top + u.bbox.height) continue;
      if (taken.some(t => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3])) continue;
      taken.push(box); ctx.strokeText(text, left + dx, top + dy); ctx.fillText(text, left + dx, top + dy); break;
    }
  });
  ctx.restore();
}

function showMemory(plan) {
  const {memory, capacity} = plan, place = $('memory'), xs = memory.map(m => m[0]);
  const values = memory.flatMap(m => [m[1], m[2]]).concat(capacity ?? []).filter(x => x > 0);
  const say = i => {
    const [pieces, peak, weights] = memory[i];
    const fits = capacity === null ? '' : peak <= capacity ? ', fits' : ', does not fit';
    $('holds').textContent = `${plural(pieces, 'micro-batch').replace('batchs', 'batches')}: ${metric(peak, 'B')} on the fullest GPU, ${metric(weights, 'B')} of it weights${fits}`;
  };
  const line = (name, dash) => ({stroke: () => ink(name), width: 1.5, dash, points: {show: !dash, size: 7, fill: () => ink(name)}});
  plot(place, {
    scales: {x: {time: false, distr: 3, log: 2, range: () => [xs[0] / 1.2, xs[xs.length - 1] * 1.2]}, y: {distr: 3, range: () => padded(Math.min(...values), Math.max(...values))}},
    axes: [{label: 'micro-batches', splits: () => xs.filter(x => Number.isInteger(Math.log2(x))), values: (u, at) => at.map((x, i) => at.length > 8 && i % 2 ? '' : count(x))}, {size: 66, splits: decades, values: (u, at) => at.map(v => round(v, 'B'))}],
    series: [{}, line('--link'), line('--faint', [3, 3]), line('--critical', [8, 4])],
    hooks: {draw: [u => {
      const end = xs[xs.length - 1], here = memory.find(m => m[0] === plan.pieces);
      label(u, [[here[0], here[1], 'this plan', 3], [end, memory[memory.length - 1][2], 'weights', 1], ...(capacity === null ? [] : [[end, capacity, "the GPU's memory", 2]])]);
    }]},
  }, [xs, memory.map(m => m[1]), memory.map(m => m[2]), xs.map(() => capacity)], say);
  say(memory.findIndex(m => m[0] === plan.pieces));
  place.setAttribute('aria-label', 'memory of the fullest GPU against the number of micro-batches');
}

function show(i) {
  const plan = data.plans[i];
  [...$('plans').children].forEach((row, j) => row.classList.toggle('on', i === j));
  $('title').textContent = plan.name + ': ' + plan.title;
  timeline.show(plan);
  $('about').textContent = `${seconds(plan.makespan[0])} (${plan.basis}) · ${plural(plan.ops.count, 'op')} and ${plural(plan.ops.edges, 'edge')} on ${plural(plan.gpus, 'GPU')} · ${plan.pieces === 1 ? 'batch undivided' : count(plan.pieces) + ' micro-batches'} · ${plan.dtype}`;
  showShares(plan); showGains(plan); showPath(plan);
  plots.splice(0).forEach(p => p.destroy());
  showRoofline(plan); showMemory(plan);
}

const timeline = new Timeline($('time'), data.kinds, facts);
$('in').onclick = () => timeline.zoom(.6);
$('out').onclick = () => timeline.zoom(1.6);
$('all').onclick = () => timeline.whole();
$('next').onclick = () => timeline.along(1);
$('prev').onclick = () => timeline.along(-1);
$('more').onclick = showSteps;
$('each').ontoggle = () => $('each').open && !$('steps').children.length && showSteps();
addEventListener('resize', () => plots.forEach(p => p.setSize({width: p.root.parentElement.clientWidth, height: p.height})));
matchMedia('(prefers-color-scheme: dark)').onchange = () => { inks = {}; timeline.plot.redraw(); plots.forEach(p => p.redraw()); };
showPlans();
if (data.plans.length) show(0);
